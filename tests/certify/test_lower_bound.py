"""Errors that cannot be avoided, and the kernel behind them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from approximate import TOLERANCES, instances, scaled_identity, solved, weighted
from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import BlurFFT, LinearPhysics
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    EXACT,
    IMAGE,
    PHYSICS,
    PIXELS,
    Instance,
    Linear,
    Sampled,
    dense_physics,
    make_physics,
    normal,
    scalar,
)

from equipoise.bounds import Kind
from equipoise.certify import error_floor, error_lower_bound, kernel_component
from equipoise.conversion import in_precision
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.vectors import norm

#: Fields with a proved Lipschitz constant, monotone or not.
LIPSCHITZ = ("tikhonov", "differences", "crr", "tied", "tv", "contractive", "rotation", "skew")
WEAK = ("wcrr", "untied")


def box() -> LinearPhysics:
    """A circular blur with exact zeros of its transfer function, known to rounding only."""
    filters = torch.full((1, 1, 1, 5), 0.2, dtype=torch.float64)
    return in_precision(BlurFFT(IMAGE, filter=filters), torch.float64)


@pytest.mark.parametrize("name", PHYSICS)
def test_kernel_component_is_the_dense_projection(name: str) -> None:
    physics, r = make_physics(name), normal(2, *IMAGE, seed=3)
    _, s, v = torch.linalg.svd(dense_physics(physics), full_matrices=True)
    kernel = v[int((s > 1e-12 * s[0]).sum()) :]
    expected = (r.flatten(1) @ kernel.mT @ kernel).view_as(r)
    found = kernel_component(physics, r)
    if name in EXACT:
        assert found.kind is Kind.PROVED
        assert torch.allclose(found.component, expected, rtol=0, atol=1e-12)
    else:
        assert found.kind is Kind.ESTIMATED
        assert "conjugate gradients" in found.why
        assert torch.allclose(found.component, expected, rtol=0, atol=5e-3)


def test_zeros_that_rounding_hides_are_only_estimated() -> None:
    physics, r = box(), normal(1, *IMAGE, seed=3)
    _, s, v = torch.linalg.svd(dense_physics(physics))
    kernel = v[s < 1e-10]
    found = kernel_component(physics, r)
    expected = (r.flatten(1) @ kernel.mT @ kernel).view_as(r)
    assert torch.allclose(found.component, expected, rtol=0, atol=1e-12)
    values = physics.mask
    hidden = bool(((values > 0) & (values < 1e-10)).any())
    assert hidden
    assert found.kind is Kind.ESTIMATED
    assert "taken as 0" in found.why


@given(
    case=instances(PHYSICS, (*LIPSCHITZ, *WEAK)),
    tolerance=st.sampled_from(TOLERANCES),
    sigma=st.sampled_from([None, 0.5, 3.0]),
)
@settings(max_examples=40, deadline=None)
def test_no_equilibrium_is_nearer(case: Instance, tolerance: float, sigma: float | None) -> None:
    equation = case.equation if sigma is None else weighted(case.equation, sigma)
    x = solved(equation, tolerance)
    left, error = norm(equation.residual(x)), norm(x - case.truth)
    delta = norm(case.y - case.clean)
    floor = error_floor(equation, case.truth, left)
    assert floor.kind is (Kind.PROVED if case.physics_name in EXACT else Kind.ESTIMATED)
    if floor.kind is Kind.PROVED:
        assert bool((floor.value <= error).all())
    lower = error_lower_bound(equation, case.truth, delta, residual_norm=left)
    assert lower.kind is Kind.PROVED
    assert bool((lower.value <= error).all())


@given(
    case=instances(("mask", "ill", "blur"), ("contractive", "rotation", "tv")),
    exponent=st.floats(-6, 1),
)
@settings(max_examples=40, deadline=None)
def test_every_cut_and_filter_is_a_bound(case: Instance, exponent: float) -> None:
    equation, z, scale = case.equation, case.truth, 10.0**exponent
    x = solved(equation, 1e-8)
    left, error = norm(equation.residual(x)), norm(x - z)
    delta = norm(case.y - case.clean)
    best = error_lower_bound(equation, z, delta, residual_norm=left)
    cut = error_lower_bound(equation, z, delta, t=scale, residual_norm=left)
    filtered = error_lower_bound(equation, z, delta, beta=scale, residual_norm=left)
    for bound in (best, cut, filtered):
        assert bool((bound.value <= error).all())
    if float(filtered.value) > 0:  # (c) is at least half of (b) where both say something
        assert float(filtered.value) >= 0.5 * float(cut.value) * (1 - 1e-5)


def test_formulas_against_singular_values() -> None:
    case = Instance("ill", "rotation", 4, 0.3)
    sigma, delta, e = 0.5, 0.01, 0.002
    equation = weighted(case.equation, sigma)
    _, s, v = torch.linalg.svd(dense_physics(case.physics))
    parts = v @ case.regularizer.field(case.truth).detach().flatten()
    bound = case.regularizer.traits().lipschitz
    assert bound is not None
    pull = 0.3 * bound.value
    left = torch.tensor([e], dtype=torch.float64)
    t = float(s[10]) ** 2 * 1.001
    low = parts[s.square() <= t].norm()
    expected = (0.3 * low - t**0.5 * delta / sigma**2 - e) / (pull + t / sigma**2)
    found = error_lower_bound(equation, case.truth, delta, t=t, residual_norm=left)
    assert float(expected) > 0
    assert float(found.value) == pytest.approx(float(expected), rel=1e-5)
    beta = 0.02
    low = (beta / (s.square() + beta) * parts).norm()
    expected = (0.3 * low - 0.5 * beta**0.5 * delta / sigma**2 - e) / (pull + beta / sigma**2)
    found = error_lower_bound(equation, case.truth, delta, beta=beta, residual_norm=left)
    assert float(expected) > 0
    assert float(found.value) == pytest.approx(float(expected), rel=1e-5)


def test_the_floor_is_attained() -> None:
    """R = L x with data that A sees exactly: the error is the kernel's part of the truth."""
    physics = make_physics("mask")
    mask = physics.mask
    z = normal(1, *IMAGE, seed=3) * (1 - mask)
    equation = Equation(physics, physics.A(z), scalar(0.7), 0.4)
    floor = error_floor(equation, z)
    assert floor.kind is Kind.PROVED
    error = float(norm(z))  # the equilibrium is 0
    assert float(norm(equation.residual(0 * z))) == 0.0
    assert 0.0 <= error / float(floor.value) - 1.0 < 1e-5


@pytest.mark.parametrize("share", [0.2, 0.9])
@pytest.mark.parametrize("alpha", [0.05, 4.0])
def test_the_floor_of_a_point_is_attained(alpha: float, share: float) -> None:
    """In the kernel of a mask ``E = alpha L x``; what x has there already lowers the floor."""
    mask, z = make_physics("mask"), normal(1, *IMAGE, seed=4)
    hidden = z - mask.A_adjoint(mask.A(z))
    x = z - (1 - share) * hidden
    equation = Equation(mask, mask.A(z), scalar(1.7), alpha)
    e = alpha * 1.7 * share * norm(hidden)  # the part of E(x) in the kernel
    floor = error_floor(equation, z, e)
    assert floor.kind is Kind.PROVED
    assert float(floor.value) <= float(norm(x - z))
    assert float(floor.value) == pytest.approx(float(norm(x - z)), rel=1e-5)


def test_the_spectral_bound_is_attained() -> None:
    s, slope, alpha, delta = 0.3, 0.8, 0.9, 0.05
    z = normal(1, *IMAGE, seed=3)
    y = s * z + delta * z / norm(z)
    equation = Equation(scaled_identity(s), y, scalar(slope), alpha)
    error = float(norm(s * y / (s * s + alpha * slope) - z))
    found = error_lower_bound(equation, z, delta)
    assert 0.0 <= error / float(found.value) - 1.0 < 1e-5


def test_conjugate_gradients_prove_what_the_filter_would() -> None:
    case = Instance("wide", "contractive", 2, 0.2)
    a = dense_physics(case.physics)
    r = case.regularizer.field(case.truth).detach().flatten()
    beta = 0.01
    bound = case.regularizer.traits().lipschitz
    assert bound is not None
    filtered = beta * torch.linalg.solve(a.mT @ a + beta * torch.eye(PIXELS, dtype=a.dtype), r)
    expected = (0.2 * filtered.norm() - 0.05 * 0.1) / (0.2 * bound.value + beta)
    found = error_lower_bound(case.equation, case.truth, 0.1, beta=beta)
    assert found.kind is Kind.PROVED
    assert float(found.value) <= float(expected)
    assert float(found.value) > 0.99 * float(expected)


def test_batches_and_an_alpha_for_each_sample() -> None:
    z = normal(3, *IMAGE, seed=1)
    alpha = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    delta = torch.tensor([0.5, 0.01, 0.0])
    # Conjugate gradients may take a step more or less than in a batch.
    for name, rtol in (("mask", 1e-7), ("ill", 1e-7), ("wide", 1e-3)):
        case = Instance(name, "contractive")
        batch = Equation(case.physics, case.physics.A(z), case.regularizer, alpha)
        floor, lower = error_floor(batch, z), error_lower_bound(batch, z, delta)
        for i in range(3):
            one = z[i : i + 1]
            alone = Equation(case.physics, case.physics.A(one), case.regularizer, float(alpha[i]))
            near = {"rtol": rtol, "atol": 1e-12}
            assert torch.allclose(floor.value[i], error_floor(alone, one).value[0], **near)
            single = error_lower_bound(alone, one, float(delta[i])).value[0]
            assert torch.allclose(lower.value[i], single, **near)


def test_a_constant_field_that_a_does_not_see_has_no_equilibrium() -> None:
    physics = make_physics("mask")
    pull = (1 - physics.mask).flatten()
    field = Linear(torch.zeros(PIXELS, PIXELS, dtype=torch.float64), pull)
    z = normal(1, *IMAGE, seed=1)
    equation = Equation(physics, physics.A(z), field)
    assert float(error_floor(equation, z).value) == torch.inf
    seen = Linear(torch.zeros(PIXELS, PIXELS, dtype=torch.float64), physics.mask.flatten())
    assert float(error_floor(replace(equation, regularizer=seen), z).value) == 0.0


def test_the_pull_must_be_known() -> None:
    z = normal(1, *IMAGE, seed=1)
    physics, eye = make_physics("mask"), torch.eye(PIXELS, dtype=torch.float64)
    unknown = Equation(physics, physics.A(z), Linear(eye, declare=False))
    with pytest.raises(HypothesisError, match="No finite Lipschitz constant"):
        error_floor(unknown, z)
    with pytest.raises(HypothesisError, match="No finite Lipschitz constant"):
        error_lower_bound(unknown, z, 0.1)

    sampled = Equation(physics, physics.A(z), Sampled(eye))
    for bound in (error_floor(sampled, z), error_lower_bound(sampled, z, 0.1)):
        assert bound.kind is Kind.ESTIMATED
        assert "only estimated" in bound.why


def test_bad_input_is_refused() -> None:
    case = Instance("wide", "contractive")
    equation, z = case.equation, case.truth
    with pytest.raises(HypothesisError, match="give beta instead of t"):
        error_lower_bound(equation, z, 0.1, t=0.1)
    exact = Instance("mask", "contractive").equation
    for t in (-1.0, float("nan")):
        with pytest.raises(InputError, match="t must be at least 0"):
            error_lower_bound(exact, z, 0.1, t=t)
    for beta in (0.0, -1.0, float("inf")):
        with pytest.raises(InputError, match="beta must be positive"):
            error_lower_bound(equation, z, 0.1, beta=beta)
    with pytest.raises(InputError, match="noise_norm"):
        error_lower_bound(equation, z, -0.1)
    with pytest.raises(InputError, match=r"truth is torch.float32 .* the equation's images"):
        error_floor(equation, z.float())
    counts = replace(exact, y=exact.y.abs(), data_fidelity=PoissonLikelihood(bkg=1.0))
    with pytest.raises(HypothesisError, match="PoissonLikelihood"):
        error_floor(counts, z)
