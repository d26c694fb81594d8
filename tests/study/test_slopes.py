"""Slopes and their intervals against data whose slope is known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import linregress, t

from equipoise.study.slopes import geometric_mean, log_slopes, slope_interval, t_interval

LEVELS = torch.logspace(-1, -4, 7, dtype=torch.float64)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 2.0])
def test_exact_power_laws_have_their_exponent(slope: float) -> None:
    y = 3.0 * LEVELS[:, None] ** slope * torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    found = slope_interval(LEVELS, y)
    assert found.draws == 3
    assert (found.value, found.low, found.high) == pytest.approx((slope,) * 3, abs=1e-12)


def test_slopes_agree_with_a_regression_library() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(LEVELS), 4, generator=generator, dtype=torch.float64)
    y = LEVELS[:, None] ** 0.7 * (0.3 * noise).exp()
    found = log_slopes(LEVELS, y)
    for draw in range(4):
        expected = linregress(LEVELS.log().numpy(), y[:, draw].log().numpy()).slope
        assert float(found[draw]) == pytest.approx(expected, abs=1e-12)


def test_abscissae_may_differ_from_draw_to_draw() -> None:
    x = LEVELS[:, None] * torch.tensor([1.0, 7.0], dtype=torch.float64)
    assert log_slopes(x, x**1.5).tolist() == pytest.approx([1.5, 1.5], abs=1e-12)


def test_intervals_cover_the_true_slope_as_often_as_they_say() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(400, len(LEVELS), 5, generator=generator, dtype=torch.float64)
    covered = 0
    for trial in noise:
        found = slope_interval(LEVELS, LEVELS[:, None] ** 0.5 * (0.2 * trial).exp())
        covered += found.low <= 0.5 <= found.high
    # 380 expected, standard deviation 4.4
    assert 362 <= covered <= 398


def test_a_draw_with_a_missing_point_is_left_out() -> None:
    y = LEVELS[:, None].repeat(1, 3)
    y[2, 1] = math.nan
    found = slope_interval(LEVELS, y)
    assert found.draws == 2
    assert found.value == pytest.approx(1.0)
    y[0, 0] = 0.0
    assert slope_interval(LEVELS, y).draws == 1


def test_student_interval_is_that_of_the_textbook() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, math.inf, math.nan], dtype=torch.float64)
    found = t_interval(values)
    mean, spread = 7 / 3, torch.tensor([1.0, 2.0, 4.0]).std().item()
    half = t.ppf(0.975, 2) * spread / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    assert found.draws == 3


def test_one_draw_has_no_interval_and_none_has_no_value() -> None:
    one = t_interval(torch.tensor([2.0]))
    assert (one.value, one.draws) == (2.0, 1)
    assert math.isnan(one.low)
    assert math.isnan(t_interval(torch.tensor([math.nan])).value)


def test_geometric_mean_leaves_out_what_is_not_positive() -> None:
    found = geometric_mean(torch.tensor([1.0, 100.0, 0.0, -1.0, math.nan]))
    assert found.value == pytest.approx(10.0)
    assert found.draws == 2
    assert found.low < 10.0 < found.high
