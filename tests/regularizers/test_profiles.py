"""Profiles: values, slopes and curvatures against each other and against independent formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.regularizers.learned_profiles import LinearSpline, RidgeProfile, Weighted
from equipoise.regularizers.profiles import (
    DeadZone,
    HalfQuadratic,
    LogCosh,
    Profile,
    Quadratic,
    SmoothAbs,
    StudentT,
)
from equipoise.testing import check_profile

CHANNELS = 3


def _spread(profile: Profile) -> Profile:
    """Give every parameter of every channel another value."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in profile.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return profile.double()


def _steep_ridge(slope: float) -> RidgeProfile:
    """b on either side of 1, where the order of the kinks changes."""
    return RidgeProfile(CHANNELS, 1.0, scale=2.0, slope=slope)


PROFILES: dict[str, Callable[[], Profile]] = {
    "quadratic": Quadratic,
    "log-cosh": LogCosh,
    "half-quadratic": HalfQuadratic,
    "dead-zone": lambda: DeadZone(0.3),
    "student-t": StudentT,
    "smooth-abs": lambda: SmoothAbs(0.2),
    "weighted": lambda: Weighted(StudentT(), CHANNELS),
    "ridge": lambda: RidgeProfile(CHANNELS, 0.0),
    "weak ridge": lambda: RidgeProfile(CHANNELS, 1.0, scale=2.0, slope=3.0),
    "flat weak ridge": lambda: _steep_ridge(0.3),
    "spline": lambda: LinearSpline(CHANNELS, intervals=8, radius=2.0),
    "general spline": lambda: LinearSpline(CHANNELS, intervals=8, radius=2.0, monotone=False),
}


def make(name: str) -> Profile:
    return _spread(PROFILES[name]())


def points() -> Tensor:
    """Features (2, CHANNELS, 500) in [-4, 4]."""
    generator = torch.Generator().manual_seed(1)
    return 8.0 * torch.rand(2, CHANNELS, 500, generator=generator, dtype=torch.float64) - 4.0


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_keep_the_contract(name: str) -> None:
    check_profile(make(name), CHANNELS)


@pytest.mark.parametrize("name", PROFILES)
def test_curvature_range_is_attained(name: str) -> None:
    profile = make(name)
    grid = torch.linspace(-6.0, 6.0, 120_001, dtype=torch.float64).expand(1, CHANNELS, -1)
    curvature = profile.curvature(grid)
    low, high = (extreme.expand(CHANNELS) for extreme in profile.curvature_range())
    if name not in ("smooth-abs", "log-cosh"):  # their infimum is reached at infinity only
        torch.testing.assert_close(curvature.amin((0, 2)), low, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(curvature.amax((0, 2)), high, rtol=1e-3, atol=1e-6)


def test_ranges_in_closed_form() -> None:
    low, high = StudentT().curvature_range()
    assert (float(low), float(high)) == (-0.125, 1.0)
    low, high = RidgeProfile(1, 1.0, scale=2.0, slope=10.0).double().curvature_range()
    torch.testing.assert_close(low, torch.tensor([-0.25], dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(high, torch.tensor([2.25], dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_cosh_neither_overflows_nor_cancels(dtype: torch.dtype) -> None:
    t = torch.tensor([[-1e6, -50.0, -1.0, 0.0, 1e-3, 1.0, 800.0]], dtype=dtype)
    exact = np.logaddexp(t.double().numpy(), -t.double().numpy()) - np.log(2.0)
    value, slope = LogCosh().value_and_slope(t)
    assert value.numpy() == pytest.approx(exact, rel=1e-6, abs=1e-9)
    assert slope.numpy() == pytest.approx(np.tanh(t.numpy()), rel=1e-6)


def test_smooth_abs_keeps_small_values_in_single_precision() -> None:
    t = torch.tensor([[1e-5, 1e-3]])
    exact = np.sqrt(t.double().numpy() ** 2 + 0.01) - 0.1
    assert SmoothAbs(0.1).value(t).numpy() == pytest.approx(exact, rel=1e-4)


def test_weak_ridge_follows_its_formula() -> None:
    profile = _spread(_steep_ridge(3.0))
    t = points()

    def h(u: Tensor) -> Tensor:
        return torch.where(u.abs() <= 1, 0.5 * u**2, u.abs() - 0.5)

    a = (-2 * profile.log_scale).exp()[:, None]
    b = profile.log_slope.exp()[:, None]
    torch.testing.assert_close(profile.value(t), a * (h(b * t) / b - h(t)))


def test_spline_interpolates_its_knots_and_extends_linearly() -> None:
    spline = _spread(LinearSpline(CHANNELS, intervals=8, radius=2.0, monotone=False))
    knots = np.linspace(-2.0, 2.0, 9)
    curvature = spline.curvatures().detach().numpy()
    t = points()
    slope = spline.slope(t).detach().numpy()
    for k in range(CHANNELS):
        heights = np.concatenate([[0.0], np.cumsum(0.5 * curvature[k])])
        heights -= heights[4]
        u = t[:, k].numpy()
        expected = np.interp(u, knots, heights)
        expected += curvature[k, -1] * np.maximum(u - 2.0, 0.0)
        expected -= curvature[k, 0] * np.maximum(-2.0 - u, 0.0)
        assert slope[:, k] == pytest.approx(expected, abs=1e-12)
    zero = torch.zeros(1, CHANNELS, 1, dtype=torch.float64)
    assert float(spline.slope(zero).detach().abs().max()) == pytest.approx(0.0, abs=1e-14)
    assert float(spline.value(zero).detach().abs().max()) == pytest.approx(0.0, abs=1e-14)


def test_monotone_spline_stays_convex_whatever_is_learned() -> None:
    spline = LinearSpline(CHANNELS, intervals=4, radius=1.0)
    with torch.no_grad():
        spline.raw.fill_(-3.0)
    assert float(spline.curvature_range()[0].min()) > 0.0


@pytest.mark.parametrize(
    "bad",
    [
        lambda: DeadZone(-0.1),
        lambda: SmoothAbs(0.0),
        lambda: LinearSpline(2, intervals=5),
        lambda: LinearSpline(2, intervals=0),
        lambda: LinearSpline(2, radius=0.0),
    ],
)
def test_bad_parameters_are_refused(bad: Callable[[], Profile]) -> None:
    with pytest.raises(UsageError):
        bad()
