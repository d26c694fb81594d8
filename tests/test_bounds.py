"""Numbers with a standing: PROVED is inherited only from numbers that all are."""

from __future__ import annotations

import math

import pytest

from equipoise.bounds import ROUNDING, Kind, estimated, inflate, proved


def test_a_sum_is_proved_only_if_both_parts_are() -> None:
    known, measured = proved(2.0, "theory"), estimated(3.0, "power iteration")
    assert (known + known).kind is Kind.PROVED
    for total in (known + measured, measured + known, measured + measured):
        assert total.kind is Kind.ESTIMATED
        assert not total.proved
    assert (known + measured).value == 5.0
    assert (known + measured).why == "theory; power iteration"
    assert (known + known).why == "theory"


def test_a_multiple_keeps_its_standing_and_zero_times_infinity_is_zero() -> None:
    assert proved(-2.0).times(0.5) == proved(-1.0)
    assert estimated(4.0, "x").times(2.0) == estimated(8.0, "x")
    assert proved(math.inf).times(0.0).value == 0.0


def test_upper_bounds_are_inflated_and_nothing_known_is_infinite() -> None:
    assert inflate(3.0) == pytest.approx(3.0 * (1 + ROUNDING), rel=1e-15)
    assert inflate(3.0) > 3.0
    assert inflate(math.nan) == math.inf
