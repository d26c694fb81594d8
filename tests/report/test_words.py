"""Numbers are rounded without changing what they say."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan

import pytest

from equipoise.compare.records import Interval
from equipoise.report.words import (
    count,
    decimals_for,
    interval_text,
    number,
    percent,
    prose,
    seconds,
    signed,
    significant,
    superscript_power,
    task_noun,
)


def test_numbers_have_true_signs_and_no_negative_zero() -> None:
    assert number(-1.234) == "−1.23"
    assert number(-0.001) == "0.00"
    assert signed(0.126) == "+0.13"
    assert signed(0.001) == "0.00"
    assert signed(-2) == "−2.00"
    assert significant(-1e-5) == "−1e−05"


@pytest.mark.parametrize("write", [number, signed, count, significant, seconds, percent])
@pytest.mark.parametrize("value", [nan, inf])
def test_what_is_not_finite_is_a_dash(write: Callable[[float], str], value: float) -> None:
    assert write(value) == "–"


def test_an_incomplete_share_is_never_rounded_to_all() -> None:
    assert percent(1.0) == "100 %"
    assert percent(0.99999) == "99.9 %"
    assert percent(0.0) == "0.0 %"


def test_seconds_and_counts() -> None:
    assert [seconds(v) for v in (0.123, 9.87, 12.3, 1234.0)] == ["0.12", "9.9", "12", "1,234"]
    assert count(118.5) == "118"


def test_decimals_grow_until_no_number_looks_like_zero() -> None:
    assert decimals_for([0.12, 0.0, -0.3]) == 2
    assert decimals_for([0.12, 0.004]) == 3
    assert decimals_for([1e-9]) == 4


def test_intervals() -> None:
    assert interval_text(Interval(low=-0.1, high=0.25)) == "−0.10 to 0.25"
    assert interval_text(Interval(low=nan, high=nan)) == "–"


def test_powers_of_ten() -> None:
    assert superscript_power(1e-4) == "10⁻⁴"
    assert superscript_power(2e-4) == ""
    assert superscript_power(0.0) == ""


def test_unknown_tasks_keep_their_name() -> None:
    assert task_noun("tomography") == "tomography"


def test_units_stay_with_their_numbers() -> None:
    assert prose("in 2 s, 95 % of 3 dB") == "in 2\u00a0s, 95\u00a0% of 3\u00a0dB"
    assert prose("3 sounds") == "3 sounds"
