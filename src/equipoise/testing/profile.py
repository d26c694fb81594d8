"""The contract that every profile keeps: run :func:`check_profile` on your own ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from equipoise.modes import learning_verb
from equipoise.randomness import normal_like
from equipoise.regularizers.profiles import Profile
from equipoise.testing import requirements
from equipoise.testing.derivatives import NOISE, by_parameter
from equipoise.testing.oracles import directional_difference

#: Features lie between minus and plus this.
RADIUS = 4.0
#: Number of features of each channel.
POINTS = 500
#: Step of central differences; their agreement with derivatives.
STEP = 1e-5
DIFFERENCE = 1e-4
#: Differences with steps of ratio 2 that differ by more than this share straddle a kink.
KINK = 1e-6
#: Share of the points that must lie away from kinks.
SMOOTH = 0.9
#: Relative tolerance of identities that hold exactly, in float64.
EXACT = 1e-10
#: Points far away, where potentials have taken their last shape.
FAR = (1e6, 1e8)

require = partial(requirements.require, subject="Profile")
close = partial(requirements.close, subject="Profile")


@learning_verb
def check_profile(profile: Profile, channels: int | None = None, seed: int = 0) -> None:
    """Run every check of the contract, in float64 on a copy.

    ``slope`` is the derivative of ``value`` and ``curvature`` that of ``slope`` away from kinks;
    ``curvature_range`` holds; ``value_and_slope`` and ``pairing`` agree with what they stand for;
    derivatives by the parameters are right; ``tails`` are true of points far away.

    Args:
        profile: the profile to check.
        channels: channels of the features, by default as many as the range of curvatures has.
        seed: of the random features.

    Raises:
        AssertionError: naming the first clause that is broken.
    """
    psi = copy.deepcopy(profile).double()
    low, high = psi.curvature_range()
    number = channels or low.numel()
    t = RADIUS * (2.0 * torch.special.ndtr(_normal(number, seed)) - 1.0)  # uniform
    _check_shapes(profile, t)
    smooth = _check_derivatives(psi, t)
    _check_range(psi, t, low, high)
    _check_pairing(psi, t, _normal(number, seed + 1), smooth)
    _check_parameters(psi, t, seed)
    _check_tails(psi, torch.ones(1, number, 1, dtype=torch.float64))


def _normal(channels: int, seed: int) -> Tensor:
    return normal_like(torch.empty(2, channels, POINTS, dtype=torch.float64), seed)


def _difference(function: Callable[[Tensor], Tensor], t: Tensor, step: float = STEP) -> Tensor:
    return directional_difference(function, t, torch.ones_like(t), step)


def _check_shapes(profile: Profile, t: Tensor) -> None:
    for dtype in (torch.float32, torch.float64):
        psi, x = copy.deepcopy(profile).to(dtype), t.to(dtype)
        for name in ("value", "slope", "curvature"):
            found = getattr(psi, name)(x)
            require(
                found.shape == x.shape and found.dtype == dtype,
                f"{name} turned {tuple(x.shape)} {dtype} into {tuple(found.shape)} {found.dtype}",
            )
            require(bool(torch.isfinite(found).all()), f"{name} is not finite")


def _check_derivatives(psi: Profile, t: Tensor) -> Tensor:
    """Slope and curvature against differences; returns which points lie away from kinks."""
    value, slope = psi.value(t), psi.slope(t)
    close(slope, _difference(psi.value, t), DIFFERENCE, "slope is not the derivative of value")
    bend = _difference(psi.slope, t)
    jump = (bend - _difference(psi.slope, t, 2.0 * STEP)).abs()
    smooth = jump <= KINK * bend.abs().max().clamp_min(1.0)
    share = float(smooth.double().mean())
    require(share >= SMOOTH, f"the slope has a kink near {100 * (1 - share):.0f} % of all points")
    found = psi.curvature(t)[smooth]
    close(found, bend[smooth], DIFFERENCE, "curvature is not the derivative of slope")
    together = psi.value_and_slope(t)
    close(together[0], value, EXACT, "value_and_slope gives another value")
    close(together[1], slope, EXACT, "value_and_slope gives another slope")
    return smooth


def _check_range(psi: Profile, t: Tensor, low: Tensor, high: Tensor) -> None:
    for bound in (low, high):
        require(
            bound.shape in ((), (t.shape[1],)) and bound.dtype == torch.float64,
            f"curvature_range has shape {tuple(bound.shape)} and dtype {bound.dtype}; expected () "
            f"or ({t.shape[1]},) in float64",
        )
    points = torch.cat([s * t for s in (1e-3, 0.1, 1.0, 10.0)] + [torch.zeros_like(t[:1])])
    found = psi.curvature(points).detach()
    slack = EXACT * found.abs().max()
    least, most = found.amin((0, 2)), found.amax((0, 2))
    require(
        bool((least >= low - slack).all() and (most <= high + slack).all()),
        f"curvature_range is {low.tolist()} to {high.tolist()}, but curvatures from "
        f"{least.tolist()} to {most.tolist()} occur",
    )


def _check_pairing(psi: Profile, t: Tensor, u: Tensor, smooth: Tensor) -> None:
    """The derivatives of ``sum u psi'(t)`` against curvature, slope and automatic ones."""
    found = psi.pairing(t, u)
    usual = Profile.pairing(psi, t, u)
    require(
        len(found) == len(usual),
        f"pairing gives {len(found)} derivatives, expected those by t, by u and by "
        f"{len(usual) - 2} parameters",
    )
    bent = (u * psi.curvature(t))[smooth]
    close(found[0][smooth], bent, EXACT, "pairing's derivative by t is not u times the curvature")
    close(found[1], psi.slope(t), EXACT, "pairing's derivative by u is not the slope")
    for number, (one, other) in enumerate(zip(found[2:], usual[2:], strict=True)):
        message = f"pairing's derivative by parameter {number} differs from automatic ones"
        close(one, other, EXACT, message)


def _check_parameters(psi: Profile, t: Tensor, seed: int) -> None:
    """Automatic derivatives of value and slope by each parameter against differences."""
    for name, parameter in psi.named_parameters():
        if not parameter.requires_grad:
            continue
        for what, function in (("value", psi.value), ("slope", psi.slope)):
            found, expected, size = by_parameter(parameter, partial(_weighted, function, t), seed)
            message = f"the derivative of {what} by {name} differs from finite differences"
            close(found, expected, DIFFERENCE, message, scale=size + NOISE * function(t).norm())


def _weighted(function: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    return (function(t) * t.cos()).sum()


def _check_tails(psi: Profile, one: Tensor) -> None:
    tails = psi.tails()
    near, far = FAR
    for side in (one, -one):
        if tails.bounded_slope:
            sizes = [float(psi.slope(a * side).detach().abs().max()) for a in (1.0, near, far)]
            require(
                sizes[2] <= 2.0 * max(sizes[:2]),
                f"slopes are declared bounded, but grow from {sizes[1]:.4g} at {near:g} to "
                f"{sizes[2]:.4g} at {far:g}",
            )
        if tails.attaining:
            values = [psi.value(a * side).detach() for a in (near, far)]
            require(
                bool((values[1] >= values[0] - 1.0 - 1e-3 * values[0].abs()).all()),
                f"attaining is declared, but the potential falls from "
                f"{float(values[0].min()):.4g} at {near:g} to {float(values[1].min()):.4g} "
                f"at {far:g}",
            )
