"""Distances to the exact equilibrium from residuals."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from approximate import TOLERANCES, instances, scaled_identity, solved, weighted
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    IMAGE,
    PHYSICS,
    PIXELS,
    STRONG,
    Instance,
    Linear,
    Sampled,
    dense_equation,
    equilibrium,
    make_physics,
    normal,
    rotation,
    scalar,
)
from torch import Tensor

from equipoise.bounds import proved
from equipoise.certify import error_at_least, error_bound
from equipoise.certify.hypotheses import Hypotheses
from equipoise.conversion import in_precision
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.fields import Traits
from equipoise.regularizers.base import Constants
from equipoise.vectors import norm


@given(
    case=instances(PHYSICS, STRONG),
    tolerance=st.sampled_from(TOLERANCES),
    sigma=st.sampled_from([None, 0.5]),
)
@settings(max_examples=40, deadline=None)
def test_distance_to_the_equilibrium(case: Instance, tolerance: float, sigma: float | None) -> None:
    """The reference is itself an approximation, at most its own proved distance away."""
    equation = case.equation if sigma is None else weighted(case.equation, sigma)
    x, exact = solved(equation, tolerance), equilibrium(equation)
    distance = norm(x - exact)
    assert bool((distance <= error_bound(equation, x) + error_bound(equation, exact)).all())


@given(case=instances(("denoise", "mask", "blur", "ill"), STRONG), spread=st.floats(-6, 1))
@settings(max_examples=40, deadline=None)
def test_distance_from_below(case: Instance, spread: float) -> None:
    exact = equilibrium(case.equation)
    x = exact + 10.0**spread * normal(*exact.shape, seed=case.seed + 9)
    near = float(error_bound(case.equation, exact))
    assert float(error_at_least(case.equation, x)) <= float(norm(x - exact)) + near


@pytest.mark.parametrize("place", ["denoise", "mask", "blur"])
@pytest.mark.parametrize("name", STRONG)
def test_rounding_is_no_distance(name: str, place: str) -> None:
    """The residual of an equilibrium in float32 is rounding, and so is its distance."""
    beaten = []
    for seed in range(4):
        case = Instance(place, name, seed, 0.7)
        y = case.equation.y.float()
        double = Equation(case.equation.physics, y.double(), case.equation.regularizer, 0.7)
        exact = equilibrium(double)
        single = Equation(
            in_precision(deepcopy(case.equation.physics), torch.float32),
            y,
            deepcopy(case.equation.regularizer).float(),
            0.7,
        )
        x = exact.float()
        distance = norm(x.double() - exact)
        assert float(distance) > 1e3 * float(error_bound(double, exact))
        assert bool((error_at_least(single, x) <= distance).all())
        assert bool((error_bound(single, x) >= distance).all())
        size = norm(single.residual(x).double())
        total = single.lipschitz
        assert total is not None
        beaten.append(float(size / total.value / distance))
    assert max(beaten) > 1e-3  # without the allowance there would be a bound that says something


def test_both_ends_meet_for_a_multiple_of_the_identity() -> None:
    y = normal(2, *IMAGE, seed=1)
    equation = Equation(scaled_identity(0.6), y, scalar(0.5), 0.8)
    exact = 0.6 * y / (0.36 + 0.4)
    x = exact + 0.1 * normal(2, *IMAGE, seed=2)
    distance = norm(x - exact)
    assert torch.allclose(error_bound(equation, x), distance, rtol=1e-5, atol=0)
    assert torch.allclose(error_at_least(equation, x), distance, rtol=1e-5, atol=0)


def test_the_weighted_norm_is_sharper_and_exact() -> None:
    """``||E||_{M^{-1}} / sqrt(m)`` against dense algebra; ``||E|| / m`` is far larger here."""
    case = Instance("mask", "tikhonov", 3, 0.01)
    equation, x = case.equation, case.truth
    e = equation.residual(x).flatten()
    m = dense_equation(equation, x)  # of Tikhonov this is M
    expected = (e @ torch.linalg.solve(m, e)).sqrt() / 0.01**0.5
    found = error_bound(equation, x)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert float(found) < 0.7 * float(e.norm()) / 0.01


def test_the_truth_in_place_of_a_reconstruction_bounds_the_error() -> None:
    case = Instance("ill", "rotation", 5, 0.2)
    error = norm(case.truth - equilibrium(case.equation))
    assert bool((error <= error_bound(case.equation, case.truth)).all())


def test_a_batch_is_its_samples() -> None:
    field, physics = rotation(0.5, 1.0), make_physics("ill")
    y, x = physics.A(normal(3, *IMAGE, seed=1)), normal(3, *IMAGE, seed=2)
    alpha = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    batch = Equation(physics, y, field, alpha)
    for i in range(3):
        alone = Equation(physics, y[i : i + 1], field, float(alpha[i]))
        for bound in (error_bound, error_at_least):
            part = bound(alone, x[i : i + 1])
            assert torch.allclose(bound(batch, x)[i : i + 1], part, rtol=1e-9)


def test_hypotheses_that_fail_are_named_with_what_mends_them() -> None:
    y = normal(1, *IMAGE, seed=1)
    with pytest.raises(HypothesisError, match=r"m > 0 fails by 0.5. Take alpha <= 1.99"):
        error_bound(Equation(scaled_identity(1.0), y, scalar(-0.5), 3.0), y)
    mask = make_physics("mask")
    with pytest.raises(HypothesisError, match=r"fails by 0\.5\. No alpha helps"):
        error_bound(Equation(mask, y, scalar(-0.5), 1.0), y)
    unknown = Linear(torch.eye(PIXELS, dtype=torch.float64), declare=False)
    with pytest.raises(HypothesisError, match="No modulus and no Lipschitz constant of R"):
        error_bound(Equation(mask, y, unknown), y)
    with pytest.raises(HypothesisError, match="The Lipschitz constant of R is not proved"):
        error_at_least(Equation(mask, y, unknown), y)
    wide = Instance("wide", "tikhonov")
    with pytest.raises(HypothesisError, match="The norm of A is not proved"):
        error_at_least(wide.equation, wide.truth)


def test_an_estimated_modulus_proves_nothing() -> None:
    y = normal(1, *IMAGE, seed=1)
    equation = Equation(make_physics("mask"), y, Sampled(torch.eye(PIXELS, dtype=torch.float64)))
    with pytest.raises(HypothesisError, match="only estimated"):
        error_bound(equation, y)
    with pytest.raises(HypothesisError, match="is not proved"):
        error_at_least(equation, y)


class Bounded(Linear):
    """Declares a Lipschitz constant alone."""

    def __init__(self, matrix: Tensor, lipschitz: float) -> None:
        super().__init__(matrix)
        self.bound = lipschitz

    def _known(self, constants: Constants) -> Traits:
        return Traits(lipschitz=proved(self.bound))


def test_a_lipschitz_constant_alone_bounds_the_distance_for_small_alpha() -> None:
    y, identity = normal(1, *IMAGE, seed=1), torch.eye(PIXELS, dtype=torch.float64)
    equation = Equation(scaled_identity(1.0), y, Bounded(-identity, 1.0), 0.4)
    x = normal(1, *IMAGE, seed=2)
    distance = norm(x - y / 0.6)  # E(x) = x - y - 0.4 x
    found = error_bound(equation, x)
    assert float(distance) <= float(found) == pytest.approx(float(distance), rel=1e-5)
    with pytest.raises(HypothesisError, match=r"m > 0 fails by 0.5. Take alpha <= 0.99"):
        error_bound(Equation(scaled_identity(1.0), y, Bounded(-identity, 1.0), 1.5), y)


def test_an_infinite_lipschitz_constant_is_none() -> None:
    y = normal(1, *IMAGE, seed=1)
    unbounded = Bounded(torch.eye(PIXELS, dtype=torch.float64), torch.inf)
    equation = Equation(scaled_identity(1.0), y, unbounded)
    with pytest.raises(HypothesisError, match="No modulus and no Lipschitz constant of R"):
        error_bound(equation, y)
    with pytest.raises(HypothesisError, match="The Lipschitz constant of R is not proved"):
        error_at_least(equation, y)


@pytest.mark.parametrize("bound", [error_bound, error_at_least])
def test_images_that_do_not_match_are_refused(bound: object) -> None:
    case = Instance("mask", "tikhonov")
    x: Tensor = case.truth
    assert callable(bound)
    for bad in (x.float(), x[..., :3], normal(2, *IMAGE, seed=0)):
        with pytest.raises(InputError, match=r"x (has shape|is torch).*the equation's images"):
            bound(case.equation, bad)
    with pytest.raises(InputError, match="NaN"):
        bound(replace(case.equation), torch.full_like(x, torch.nan))


def test_the_rounding_of_a_residual_counts_data_images_and_field() -> None:
    y = 1e3 * normal(1, *IMAGE, seed=1)
    known = Hypotheses(Equation(scaled_identity(0.5), y, scalar(2.0), 0.8))
    eps, zero = torch.finfo(torch.float64).eps, torch.zeros_like(y)
    x, field = normal(1, *IMAGE, seed=2), normal(1, *IMAGE, seed=3)
    parts = {
        "data": (known.rounding(zero, zero), 0.5 * norm(y)),
        "image": (known.rounding(x, zero), 0.5 * norm(y) + (0.25 + 0.8 * 2.0) * norm(x)),
        "field": (known.rounding(zero, field), 0.5 * norm(y) + 0.8 * norm(field)),
    }
    for name, (found, size) in parts.items():
        assert float(found) == pytest.approx(float(16 * eps * size), rel=1e-4), name
