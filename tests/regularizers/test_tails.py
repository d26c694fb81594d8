"""What profiles and fields declare of themselves far away."""

from __future__ import annotations

import pytest
import torch

from equipoise.regularizers import Scaled, build
from equipoise.regularizers.learned_profiles import LinearSpline, RidgeProfile, Weighted
from equipoise.regularizers.profiles import (
    DeadZone,
    HalfQuadratic,
    LogCosh,
    Profile,
    Quadratic,
    SmoothAbs,
    StudentT,
    Tails,
)
from equipoise.testing import check_profile


@pytest.mark.parametrize("profile", [Quadratic(), HalfQuadratic(), DeadZone(), LinearSpline(2)])
def test_quadratic_growth_is_not_called_bounded(profile: Profile) -> None:
    assert profile.tails() == Tails(attaining=True, bounded_slope=False)


@pytest.mark.parametrize(
    "profile",
    [
        LogCosh(),
        StudentT(),
        SmoothAbs(),
        Weighted(StudentT(), 2),
        RidgeProfile(2, 0.0),
        RidgeProfile(2, 1.0),
        RidgeProfile(2, 1.0, slope=0.5),
    ],
)
def test_slow_growth_is_called_bounded(profile: Profile) -> None:
    assert profile.tails() == Tails(attaining=True, bounded_slope=True)
    check_profile(profile, 2)


def test_a_ridge_that_falls_does_not_attain() -> None:
    profile = RidgeProfile(2, 1.5).double()
    assert profile.tails() == Tails(attaining=False, bounded_slope=True)
    far = torch.full((1, 2, 1), 1e6, dtype=torch.float64)
    assert float(profile.value(far).detach().max()) < -1.0


@pytest.mark.parametrize("side", [0, -1])
def test_splines_that_end_straight_attain_unless_they_fall(side: int) -> None:
    spline = LinearSpline(2, 4, monotone=False).double()
    with torch.no_grad():
        spline.raw[1, side] = 0.0
    assert spline.tails() == Tails(attaining=True, bounded_slope=False)
    with torch.no_grad():
        spline.raw[1, 1 if side == 0 else 2] = -0.1  # the interval between that one and 0
    assert not spline.tails().attaining
    with torch.no_grad():
        spline.raw[1, 1 if side == 0 else 2] = 0.0
        spline.raw[:, [0, -1]] = 0.0
    assert spline.tails() == Tails(attaining=True, bounded_slope=True)
    check_profile(spline)


def test_nothing_is_declared_without_proof() -> None:
    class Unknown(Quadratic):
        def tails(self) -> Tails:
            return Profile.tails(self)

    assert Unknown().tails() == Tails(attaining=False, bounded_slope=False)
    spline = LinearSpline(2, monotone=False)
    with torch.no_grad():
        spline.raw[1, -1] = -0.1
    assert not spline.tails().attaining


@pytest.mark.parametrize(
    ("name", "options", "attaining", "bounded"),
    [
        ("tikhonov", {}, True, False),
        ("tv", {}, True, True),
        ("crr", {"filters": (3,)}, True, True),
        ("wcrr", {"filters": (3,)}, True, True),
        ("ridge", {"filters": (3,), "weak_convexity": 1.5}, False, True),
        ("tied-conv", {"filters": 3, "activation": "relu"}, True, False),
        ("untied-conv", {"filters": 3, "activation": "tanh"}, False, True),
        ("untied-conv", {"filters": 3, "activation": "relu"}, False, False),
        ("contractive", {"width": 3, "depth": 1}, False, False),
        ("fields-of-experts", {"filters": 3}, True, True),
        ("spline-ridge", {"filters": (3,)}, True, False),
    ],
)
def test_fields_pass_it_on(
    name: str, options: dict[str, object], attaining: bool, bounded: bool
) -> None:
    field = build(name, **options)
    for traits in (field.traits(), Scaled(field, 0.5, 2.0).traits()):
        assert (traits.attaining, traits.bounded) == (attaining, bounded)
