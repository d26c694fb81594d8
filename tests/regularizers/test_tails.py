"""What profiles and fields declare of themselves far away."""

from __future__ import annotations

import pytest
import torch

from equipoise.regularizers import Scaled, build
from equipoise.regularizers.learned_profiles import LinearSpline, RidgeProfile, Weighted
from equipoise.regularizers.profiles import (
    DeadZone,
    HalfQuadratic,
    Huber,
    LogCosh,
    Profile,
    Quadratic,
    SmoothAbs,
    StudentT,
    Tails,
)

PROFILES: dict[str, Profile] = {
    "quadratic": Quadratic(),
    "log-cosh": LogCosh(),
    "half-quadratic": HalfQuadratic(),
    "dead-zone": DeadZone(),
    "student-t": StudentT(),
    "smooth-abs": SmoothAbs(),
    "huber": Huber(),
    "weighted": Weighted(StudentT(), 2),
    "convex ridge": RidgeProfile(2, 0.0),
    "weakly convex ridge": RidgeProfile(2, 1.0),
    "falling ridge": RidgeProfile(2, 1.5),
    "flat ridge": RidgeProfile(2, 1.0, slope=0.5),
    "spline": LinearSpline(2),
    "free spline": LinearSpline(2, monotone=False),
}
#: Piecewise quadratic and bounded below, without growing on both sides.
BOUNDED_BELOW = ("half-quadratic", "weakly convex ridge", "flat ridge")


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_keep_what_they_declare(name: str) -> None:
    profile = PROFILES[name].double()
    far = torch.logspace(1, 6, 26, dtype=torch.float64)
    with torch.no_grad():
        for side in (far, -far):
            t = side.repeat(2, 1)[None]
            value, slope = profile.value(t), profile.slope(t).abs()
            if profile.tails().bounded_slope:
                assert bool((slope[..., -1] <= 2.0 * slope[..., :6].amax(-1)).all())
            grows = bool((value[..., -1] > value[..., 10] + 1.0).all())
            if profile.tails().attaining and name not in BOUNDED_BELOW:
                assert grows
            if name in BOUNDED_BELOW:
                assert profile.tails().attaining
                # Up to rounding of large numbers that cancel.
                assert float(value.min()) > -1e3
            if name == "falling ridge":
                assert not profile.tails().attaining
                assert float(value[..., -1].max()) < -1.0


def test_nothing_is_declared_without_proof() -> None:
    class Unknown(Quadratic):
        def tails(self) -> Tails:
            return Profile.tails(self)

    assert Unknown().tails() == Tails(attaining=False, bounded_slope=False)
    spline = LinearSpline(2, monotone=False)
    with torch.no_grad():
        spline.raw[1, -1] = -0.1
    assert not spline.tails().attaining
    with torch.no_grad():
        spline.raw[1, -1] = 0.0
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
    ],
)
def test_fields_pass_it_on(
    name: str, options: dict[str, object], attaining: bool, bounded: bool
) -> None:
    field = build(name, **options)
    for traits in (field.traits(), Scaled(field, 0.5, 2.0).traits()):
        assert (traits.attaining, traits.bounded) == (attaining, bounded)
