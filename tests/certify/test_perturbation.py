"""The lemma and the stability of approximate equilibria; PROVED numbers get no slack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from approximate import TOLERANCES, instances, scaled_identity, solved, weighted
from deepinv.optim.data_fidelity import L2, PoissonLikelihood
from deepinv.physics import Denoising
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    FIELDS,
    IMAGE,
    MONOTONE,
    PHYSICS,
    PIXELS,
    STRONG,
    Instance,
    Sampled,
    make_physics,
    normal,
    scalar,
)
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.certify import PairBounds, bregman_pairing, pair_bounds, stability_bounds
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.point import Point
from equipoise.conversion import in_precision
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError, UsageError
from equipoise.vectors import norm


def check(equation: Equation, bounds: PairBounds, x: Tensor, z: Tensor) -> None:
    """What is measured is below what is proved."""
    if bounds.data is not None:
        assert bool((norm(equation.physics.A(x - z)) <= bounds.data).all())
        assert bounds.bregman is not None
        assert bool((bregman_pairing(equation.regularizer, x, z) <= bounds.bregman).all())
    if bounds.distance is not None:
        assert bool((norm(x - z) <= bounds.distance).all())


@given(
    case=instances(PHYSICS, FIELDS),
    tolerance=st.sampled_from(TOLERANCES),
    exponent=st.floats(-4, 0.5),
    sigma=st.sampled_from([None, 0.3, 4.0]),
)
@settings(max_examples=40, deadline=None)
def test_stability_of_approximate_equilibria(
    case: Instance, tolerance: float, exponent: float, sigma: float | None
) -> None:
    one = case.equation if sigma is None else weighted(case.equation, sigma)
    two = replace(one, y=case.y + 10.0**exponent * normal(*case.y.shape, seed=case.seed + 7))
    x1, x2 = solved(one, tolerance), solved(two, tolerance)
    bounds = stability_bounds(one, x1, two, x2)
    assert (bounds.data is not None) == (case.field_name in MONOTONE)
    if case.field_name in STRONG:
        assert bounds.distance is not None
        assert bounds.kind is Kind.PROVED
    check(one, bounds, x1, x2)


@given(
    case=instances(PHYSICS, MONOTONE),
    tolerance=st.sampled_from(TOLERANCES),
    exponent=st.floats(-1, 1),
    moved=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_another_alpha_is_another_datum(
    case: Instance, tolerance: float, exponent: float, moved: bool
) -> None:
    y = case.y + 0.2 if moved else case.y
    one = case.equation
    two = replace(one, y=y, alpha=case.alpha * 10.0**exponent)
    x1, x2 = solved(one, tolerance), solved(two, tolerance)
    check(one, stability_bounds(one, x1, two, x2), x1, x2)


@given(case=instances(PHYSICS, FIELDS), spread=st.floats(-3, 1))
@settings(max_examples=60, deadline=None)
def test_lemma_at_any_two_points(case: Instance, spread: float) -> None:
    """u is chosen at random; e is what remains."""
    equation, x = case.equation, case.truth
    z = x + 10.0**spread * normal(*x.shape, seed=case.seed + 3)
    u = 10.0**spread * normal(*case.y.shape, seed=case.seed + 4)
    field = equation.regularizer.field
    physics = case.physics
    with torch.no_grad():
        left = physics.A_adjoint(physics.A(x - z)) + case.alpha * (field(x) - field(z))
        e = left - physics.A_adjoint(u)
    known = Hypotheses(equation)
    slack = Point(known, x).rounding + Point(known, z).rounding
    check(equation, pair_bounds(equation, x, z, u, e, slack), x, z)


@pytest.mark.parametrize("sigma", [1.0, 0.2])
@pytest.mark.parametrize("s", [0.3, 2.0])
def test_stability_is_attained_by_tikhonov_at_the_critical_strength(s: float, sigma: float) -> None:
    """A = s I, R = mu I with s^2 / sigma^2 = alpha mu: every constant is met within 1e-5."""
    alpha = 0.7
    mu = s * s / (alpha * sigma * sigma)
    physics = scaled_identity(s)
    y = normal(1, *IMAGE, seed=2)
    one = weighted(Equation(physics, y, scalar(mu), alpha), sigma)
    two = replace(one, y=y + 0.3 * normal(1, *IMAGE, seed=3))

    def exact(equation: Equation) -> Tensor:
        return s * equation.y / (s * s + alpha * mu * sigma * sigma)

    x1, x2 = exact(one), exact(two)
    bounds = stability_bounds(one, x1, two, x2)
    check(one, bounds, x1, x2)
    assert bounds.data is not None
    assert bounds.bregman is not None
    assert bounds.distance is not None
    near = {"rtol": 1e-5, "atol": 0.0}
    assert torch.allclose(bounds.data, norm(s * (x1 - x2)), **near)
    assert torch.allclose(bounds.bregman, bregman_pairing(one.regularizer, x1, x2), **near)
    assert torch.allclose(bounds.distance, norm(x1 - x2), **near)


def test_loose_solves_are_charged_and_tightly() -> None:
    """R = mu I, A = I, equal data: d is e / m exactly, and the bound says no more."""
    mu, alpha = 0.4, 0.5
    y = normal(1, *IMAGE, seed=2)
    equation = Equation(scaled_identity(1.0), y, scalar(mu), alpha)
    x = y / (1 + alpha * mu)
    z = x + 0.01 * normal(1, *IMAGE, seed=3)
    bounds = stability_bounds(equation, x, equation, z)
    assert bounds.distance is not None
    check(equation, bounds, x, z)
    assert torch.allclose(bounds.distance, norm(x - z), rtol=1e-5, atol=0.0)


def test_the_change_of_alpha_is_attained() -> None:
    """Scalar A = s, R = mu with s^2 = alpha mu, exact equilibria for two alphas."""
    s, alpha, other = 0.8, 0.5, 1.7
    mu = s * s / alpha
    y = normal(1, *IMAGE, seed=2)
    one = Equation(scaled_identity(s), y, scalar(mu), alpha)
    two = replace(one, alpha=other)
    x1, x2 = s * y / (s * s + alpha * mu), s * y / (s * s + other * mu)
    bounds = stability_bounds(one, x1, two, x2)
    assert bounds.distance is not None
    check(one, bounds, x1, x2)
    assert torch.allclose(bounds.distance, norm(x1 - x2), rtol=1e-5, atol=0.0)


def test_a_batch_is_its_samples_also_with_an_alpha_for_each() -> None:
    physics, field = make_physics("ill"), Instance("ill", "contractive").regularizer
    y = physics.A(normal(3, *IMAGE, seed=5))
    alpha = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    one = Equation(physics, y, field, alpha)
    two = Equation(physics, y + 0.1 * normal(*y.shape, seed=6), field, alpha)
    x1, x2 = solved(one, 1e-3), solved(two, 1e-3)
    together = stability_bounds(one, x1, two, x2)
    check(one, together, x1, x2)
    for i in range(3):
        parts = [
            (Equation(physics, e.y[i : i + 1], field, float(alpha[i])), x[i : i + 1])
            for e, x in ((one, x1), (two, x2))
        ]
        alone = stability_bounds(*parts[0], *parts[1])
        for name in ("data", "bregman", "distance"):
            assert torch.allclose(getattr(together, name)[i], getattr(alone, name)[0], rtol=1e-9), (
                name
            )


class Fourier(Denoising):
    """A physics with complex measurements: every other column of the unitary transform."""

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return torch.fft.fft2(x, norm="ortho")[..., ::2]

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        full = y.new_zeros(*y.shape[:-1], IMAGE[-1])
        full[..., ::2] = y
        return torch.fft.ifft2(full, norm="ortho").real


def test_complex_data() -> None:
    physics, field = Fourier(), Instance("mask", "contractive").regularizer
    clean = physics.A(normal(2, *IMAGE, seed=5))
    one = Equation(physics, clean, field, 0.4)
    two = Equation(physics, clean + 0.1 * torch.randn_like(clean), field, 0.8)
    x1, x2 = solved(one, 1e-2), solved(two, 1e-2)
    bounds = stability_bounds(one, x1, two, x2)
    assert bounds.distance is not None
    check(one, bounds, x1, x2)
    assert Hypotheses(one).calculus is None  # the decomposition it inherits does not hold


def test_single_precision_has_its_allowance() -> None:
    case = Instance("blur", "contractive", 3)
    field = case.regularizer.float()
    physics = in_precision(make_physics("blur", 3), torch.float32)
    y = case.y.float()
    one, two = (Equation(physics, data, field, 0.5) for data in (y, y + 1e-4))
    x1, x2 = solved(one, 1e-6), solved(two, 1e-6)
    bounds = stability_bounds(one, x1, two, x2)
    assert bounds.distance is not None
    check(one, bounds, x1, x2)


def test_estimated_constants_prove_nothing() -> None:
    field = Sampled(torch.eye(PIXELS, dtype=torch.float64))
    y = normal(1, *IMAGE, seed=1)
    one = Equation(make_physics("mask"), y, field, 0.5)
    bounds = stability_bounds(one, y, one, y + 0.1)
    assert bounds.kind is Kind.ESTIMATED
    assert bounds.distance is not None


def test_weak_monotonicity_gives_no_bregman_distance() -> None:
    y = normal(1, *IMAGE, seed=1)
    for alpha, known in ((1.0, True), (3.0, False)):  # m = 1 - alpha / 2
        equation = Equation(scaled_identity(1.0), y, scalar(-0.5), alpha)
        bounds = stability_bounds(equation, y, equation, y + 0.1)
        assert bounds.data is None
        assert bounds.bregman is None
        assert (bounds.distance is not None) == known


def test_equations_of_different_kind_are_not_compared() -> None:
    case = Instance("mask", "contractive")
    x = case.truth
    others = (
        replace(case.equation, physics=make_physics("mask", 5)),
        replace(case.equation, regularizer=scalar(1.0)),
        replace(case.equation, data_fidelity=L2(sigma=2.0)),
    )
    for other in others:
        with pytest.raises(UsageError, match="the same physics"):
            stability_bounds(case.equation, x, other, x)


def test_other_fidelities_are_refused() -> None:
    case = Instance("mask", "contractive")
    equation = replace(case.equation, y=case.y.abs(), data_fidelity=PoissonLikelihood(bkg=1.0))
    with pytest.raises(HypothesisError, match="squared norm, not for PoissonLikelihood"):
        stability_bounds(equation, case.truth, equation, case.truth)


def test_points_of_other_shapes_are_refused() -> None:
    case = Instance("mask", "contractive")
    x, equation = case.truth, case.equation
    for bad in (x[..., :4], x.float(), normal(2, *IMAGE, seed=0)):
        with pytest.raises(InputError, match=r"x1 (has shape|is torch).*the equation's images"):
            stability_bounds(equation, bad, equation, x)
    with pytest.raises(InputError, match=r"z has values that are NaN"):
        pair_bounds(equation, x, x * torch.nan, case.y, x)
    with pytest.raises(InputError, match=r"u has shape .* the measurements"):
        pair_bounds(equation, x, x, case.y[..., :4], x)
