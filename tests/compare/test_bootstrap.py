"""Bootstrap intervals against closed forms and an exhaustive enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from equipoise.compare.bootstrap import bootstrap_interval, paired_interval
from equipoise.errors import InputError


def test_a_constant_sample_has_an_interval_of_length_zero() -> None:
    interval = bootstrap_interval(np.full(5, 0.1))
    assert (interval.low, interval.high) == (0.1, 0.1)


def test_four_values_agree_with_all_256_resamples() -> None:
    values = np.array([0.0, 1.0, 3.0, 10.0])
    means = np.array([np.mean(chosen) for chosen in itertools.product(values, repeat=4)])
    low, high = np.quantile(means, [0.025, 0.975])
    interval = bootstrap_interval(values)
    # The distribution is discrete: neighbouring means are at most 0.5 apart there.
    assert interval.low == pytest.approx(low, abs=0.5)
    assert interval.high == pytest.approx(high, abs=0.5)


def test_many_normal_values_give_the_normal_interval() -> None:
    values = np.random.default_rng(1).standard_normal(400)
    half = 1.96 * values.std() / math.sqrt(400)
    interval = bootstrap_interval(values)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_the_seed_decides_and_the_default_is_fixed() -> None:
    values = np.random.default_rng(2).random(9)
    assert bootstrap_interval(values) == bootstrap_interval(values.copy())
    assert bootstrap_interval(values, seed=0) != bootstrap_interval(values, seed=1)


def test_a_single_value_allows_no_interval() -> None:
    interval = bootstrap_interval(np.array([3.0]))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_pairing_removes_what_the_photographs_share() -> None:
    easy_or_hard = np.array([20.0, 25.0, 30.0, 35.0])
    paired = paired_interval(easy_or_hard + 0.1, easy_or_hard)
    assert paired.low == pytest.approx(0.1)
    assert paired.high == pytest.approx(0.1)
    alone = bootstrap_interval(easy_or_hard)
    assert alone.high - alone.low > 5


def test_pairing_is_antisymmetric_up_to_resampling() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(30), rng.random(30)
    forth, back = paired_interval(a, b), paired_interval(b, a)
    assert forth.low == pytest.approx(-back.high)
    assert forth.high == pytest.approx(-back.low)


@pytest.mark.parametrize(
    "values", [np.empty(0), np.ones((2, 2)), np.array([1.0, np.nan]), np.array([np.inf, 0.0])]
)
def test_unusable_values_are_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError):
        bootstrap_interval(values)


def test_no_resamples_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        bootstrap_interval(np.ones(3), resamples=0)


def test_unpaired_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="same photographs"):
        paired_interval(np.ones(3), np.ones(4))
