"""Stability constants against equilibria of pairs of data."""

from __future__ import annotations

import math

import pytest
import torch
from deepinv.optim import L2
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    IMAGE,
    PHYSICS,
    PIXELS,
    Instance,
    Linear,
    Matrix,
    equilibrium,
    make_physics,
    normal,
    scalar,
)
from torch import Tensor

from equipoise.bounds import Kind, estimated
from equipoise.certify import Statement
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.stability import (
    data_constant,
    norm_constant,
    stability_section,
)
from equipoise.equation import Equation
from equipoise.fields import Traits
from equipoise.regularizers.base import Constants

SEEDS = st.integers(0, 10_000)
NAMES = ("stability_norm", "stability_data", "stability_bregman", "stability_alpha")


def answers(equation: Equation) -> dict[str, Statement]:
    return {s.name: s for s in stability_section(Hypotheses(equation)).statements}


def check(first: Equation, second: Equation) -> list[float]:
    """Compare two exact equilibria with the constants; return the ratios to them."""
    x, z = equilibrium(first), equilibrium(second)
    d, dy = x - z, float((first.y - second.y).norm())
    field = first.regularizer.field
    with torch.no_grad():
        pairing = float(((field(x) - field(z)) * d).sum())
        moved = float(first.physics.A(d).norm())
    measured = {
        "stability_norm": float(d.norm()) / dy,
        "stability_data": moved / dy,
        "stability_bregman": abs(float(first.alpha) * pairing) / dy**2,
    }
    ratios = []
    for name, value in measured.items():
        statement = answers(first)[name]
        if statement.value is not None:
            assert statement.kind is Kind.PROVED
            assert value <= statement.value
            ratios.append(value / statement.value)
    return ratios


@settings(max_examples=40, deadline=None)
@given(
    physics=st.sampled_from(PHYSICS),
    field=st.sampled_from(["tikhonov", "contractive", "rotation", "crr", "tied", "tv"]),
    seed=SEEDS,
    alpha=st.floats(0.05, 3.0),
    amplitude=st.floats(1e-2, 3.0),
    aligned=st.booleans(),
)
def test_pairs_of_data(
    physics: str, field: str, seed: int, alpha: float, amplitude: float, aligned: bool
) -> None:
    instance = Instance(physics, field, seed, alpha)
    if aligned:  # along the singular vector that the constant is about
        u, s, _ = torch.linalg.svd(instance.A)
        mu = max(float(instance.equation.traits.modulus.value), 1e-3)  # type: ignore[union-attr]
        dy = u[:, int((s - (alpha * mu) ** 0.5).abs().argmin())].view_as(instance.y)
    else:
        dy = normal(*instance.y.shape, seed=seed + 9)
    dy = amplitude * dy / dy.norm()
    check(instance.equation, instance.with_data(instance.y + dy))


@settings(max_examples=15, deadline=None)
@given(
    physics=st.sampled_from(["denoise", "blur"]),
    field=st.sampled_from(["wcrr", "untied"]),
    seed=SEEDS,
    share=st.floats(0.05, 0.95),
)
def test_weakly_monotone_fields_below_the_limit(
    physics: str, field: str, seed: int, share: float
) -> None:
    limit = Hypotheses(Instance(physics, field, seed).equation).alpha_limit.value
    instance = Instance(physics, field, seed, min(share * limit, 20.0))
    found = answers(instance.equation)
    assert all(found[name].holds for name in NAMES)
    assert "|D|" in found["stability_bregman"].title
    dy = 0.3 * normal(*instance.y.shape, seed=seed + 9)
    check(instance.equation, instance.with_data(instance.y + dy))


@pytest.mark.parametrize("alpha", [0.1, 0.7, 3.0])
def test_constants_are_attained(alpha: float) -> None:
    """Scalar ``A = s``, ``R = mu x`` with ``s^2 = alpha mu``: 1/4 and gamma are reached; with
    negative mu all three are, at ``s_-``."""
    s = 0.8
    physics = Matrix(s * torch.eye(PIXELS, dtype=torch.float64))
    y, dy = normal(1, PIXELS, seed=0), normal(1, PIXELS, seed=1)
    field = scalar(s * s / alpha)
    ratios = check(Equation(physics, y, field, alpha), Equation(physics, y + dy, field, alpha))
    assert len(ratios) == 3
    assert ratios[0] > 0.99
    assert ratios[2] > 0.99
    denoising = make_physics("denoise")
    y, dy = normal(1, *IMAGE, seed=0), normal(1, *IMAGE, seed=1)
    for rho in (0.3, 0.8):
        field = scalar(-rho / alpha)
        ratios = check(
            Equation(denoising, y, field, alpha), Equation(denoising, y + dy, field, alpha)
        )
        assert ratios[0] > 0.99
        assert ratios[1] > 0.99
        if rho > 0.5:
            assert ratios[2] > 0.99
    field = scalar(0.4)  # ||A d|| reaches s_+^2 / (s_+^2 + alpha mu)
    ratios = check(Equation(denoising, y, field, alpha), Equation(denoising, y + dy, field, alpha))
    assert ratios[1] > 0.99


@settings(max_examples=20, deadline=None)
@given(
    physics=st.sampled_from(["denoise", "mask", "blur", "wide"]),
    field=st.sampled_from(["tikhonov", "contractive", "rotation"]),
    seed=SEEDS,
    alpha=st.floats(0.05, 3.0),
    ratio=st.floats(0.2, 5.0),
)
def test_change_of_alpha(physics: str, field: str, seed: int, alpha: float, ratio: float) -> None:
    instance = Instance(physics, field, seed, alpha)
    other = instance.with_alpha(alpha * ratio)
    x, z = equilibrium(instance.equation), equilibrium(other)
    misfit = float((instance.physics.A(z) - instance.y).norm())
    statement = answers(instance.equation)["stability_alpha"]
    assert statement.value is not None
    shift = abs(1.0 - 1.0 / ratio) * misfit
    # Both solves end at rounding, which counts where the change of alpha makes none.
    assert float((x - z).norm()) <= statement.value * shift + 1e-11


def test_weight_of_the_data_scales_the_constants() -> None:
    """With ``A / sigma`` and ``y / sigma`` for A and y everything is as before."""
    sigma, alpha = 0.3, 0.5
    physics = Matrix(normal(25, PIXELS, seed=2) / 5)
    whitened = Matrix(physics.matrix / sigma)
    y, dy = normal(1, 25, seed=0), normal(1, 25, seed=1)
    field = scalar(0.6)

    def weighted(data: Tensor) -> Equation:
        return Equation(physics, data, field, alpha, L2(sigma=sigma))

    ratios = check(weighted(y), weighted(y + dy))
    assert len(ratios) == 3
    found, plain = answers(weighted(y)), answers(Equation(whitened, y / sigma, field, alpha))
    values = [(found[name].value, plain[name].value) for name in NAMES[:3]]
    factors = (1 / sigma, 1.0, 1 / sigma**2)
    for (scaled, base), factor in zip(values, factors, strict=True):
        assert scaled is not None
        assert base is not None
        assert scaled == pytest.approx(factor * base, rel=1e-9)


def test_estimated_norms_are_not_used() -> None:
    """gamma where ``sqrt(alpha mu)`` lies beyond the estimated norm of A."""
    physics = Matrix(0.1 * normal(12, PIXELS, seed=1))
    found = answers(Equation(physics, normal(1, 12, seed=0), scalar(2.0), 4.0))["stability_norm"]
    assert found.kind is Kind.PROVED
    assert found.value == pytest.approx(1 / (2 * math.sqrt(8.0)), rel=1e-5)


def test_proved_norms_are_used() -> None:
    blur = Instance("blur", "tikhonov", 0, 4.0)
    found = answers(blur.equation)["stability_norm"]
    assert found.value == pytest.approx(1.0 / 5.0, rel=1e-4)  # s_+ = 1 < sqrt(alpha mu) = 2


def test_refusals() -> None:
    network = answers(Instance("denoise", "network", 1).equation)
    assert [network[name].value for name in NAMES] == [None] * 4
    convex = answers(Instance("mask", "crr", 1).equation)
    assert [convex[name].holds for name in NAMES] == [False, True, True, False]
    assert "mu = 0" in convex["stability_norm"].words
    weak = answers(Instance("mask", "wcrr", 1).equation)
    assert [weak[name].holds for name in NAMES] == [False] * 4
    assert all(weak[name].advice for name in NAMES)


def test_constants_of_an_estimated_modulus_are_estimated() -> None:
    class Sampled(Linear):
        def _known(self, constants: Constants) -> Traits:
            return Traits(modulus=estimated(0.5), lipschitz=estimated(1.0))

    sampled = Sampled(torch.eye(PIXELS, dtype=torch.float64))
    for name in ("denoise", "mask"):
        known = Hypotheses(Equation(make_physics(name), normal(1, *IMAGE, seed=1), sampled))
        for constant in (norm_constant, data_constant):
            bound = constant(known)
            assert bound is not None
            assert bound.kind is Kind.ESTIMATED, constant.__name__
