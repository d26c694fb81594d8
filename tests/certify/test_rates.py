"""Errors against a truth: source elements, Thm 5 and Thm 7."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from approximate import TOLERANCES, instances, scaled_identity, solved, weighted
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    IMAGE,
    MONOTONE,
    PHYSICS,
    PIXELS,
    STRONG,
    Instance,
    Linear,
    Sampled,
    dense_physics,
    equilibrium,
    make_physics,
    normal,
    scalar,
)
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.certify import (
    best_alpha,
    bregman_pairing,
    error_bound,
    expected_error_bound,
    least_norm_element,
    rate_bounds,
    source_element,
    truth_error_bound,
)
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.vectors import norm


def shifted(s: float, mu: float, truth: Tensor, w: Tensor) -> Linear:
    """``R(x) = mu (x - z) + s w``, so that ``R(z) = A^T w`` for ``A = s I``."""
    eye = mu * torch.eye(PIXELS, dtype=torch.float64)
    return Linear(eye, (s * w - mu * truth).flatten())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 4.0])
def test_the_residual_against_known_noise_is_attained(share: float) -> None:
    """For ``A = I`` and a constant ``R = w`` the point ``z - alpha w`` meets both bounds."""
    w, z, alpha = normal(1, *IMAGE, seed=1), normal(1, *IMAGE, seed=2), 0.3
    constant = Linear(torch.zeros(PIXELS, PIXELS, dtype=torch.float64), w.flatten())
    noise = share * alpha * w
    equation = Equation(scaled_identity(1.0), z + noise, constant, alpha)
    element = least_norm_element(equation.physics, w)
    x = z - alpha * w
    misfit = norm(equation.physics.A(x) - equation.y)
    for delta in (None, float(norm(noise))):
        bound = rate_bounds(equation, x, z, element, delta).residual
        assert bound is not None
        assert float(misfit) <= float(bound)
        if delta is not None:
            assert float(bound) == pytest.approx(float(misfit), rel=1e-5)


def test_noise_along_the_source_element_leaves_its_residual() -> None:
    """With ``eta = alpha w`` the truth itself is the equilibrium and its residual the noise."""
    w, z, alpha = normal(1, *IMAGE, seed=1), normal(1, *IMAGE, seed=2), 0.3
    field = shifted(0.8, 0.5, z, w)
    equation = Equation(scaled_identity(0.8), 0.8 * z + alpha * w, field, alpha)
    element = least_norm_element(equation.physics, field.field(z).detach())
    bound = rate_bounds(equation, z, z, element).residual
    assert bound is not None
    assert float(norm(equation.physics.A(z) - equation.y)) <= float(bound)
    assert float(bound) == pytest.approx(float(alpha * norm(w)), rel=1e-4)


@given(
    case=instances(PHYSICS, MONOTONE),
    tolerance=st.sampled_from(TOLERANCES),
    exponent=st.none() | st.floats(-3, 1),
    known=st.booleans(),
    sigma=st.sampled_from([None, 0.4]),
)
@settings(max_examples=50, deadline=None)
def test_rates_of_approximate_equilibria(
    case: Instance, tolerance: float, exponent: float | None, known: bool, sigma: float | None
) -> None:
    equation = case.equation if sigma is None else weighted(case.equation, sigma)
    physics, z = case.physics, case.truth
    r = case.regularizer.field(z).detach()
    if exponent is None:
        element = least_norm_element(physics, r)
    else:
        element = source_element(physics, r, 10.0**exponent)
    x = solved(equation, tolerance)
    delta = norm(case.y - case.clean)
    bounds = rate_bounds(equation, x, z, element, None if known else delta)
    assert bounds.data is not None
    assert bounds.bregman is not None
    assert bounds.residual is not None
    assert bool((norm(physics.A(x - z)) <= bounds.data).all())
    assert bool((bregman_pairing(case.regularizer, x, z) <= bounds.bregman).all())
    assert bool((norm(physics.A(x) - case.y) <= bounds.residual).all())
    if case.field_name in STRONG:
        assert bounds.distance is not None
        assert bounds.kind is Kind.PROVED
        assert bool((norm(x - z) <= bounds.distance).all())


@pytest.mark.parametrize("sigma", [1.0, 0.3])
def test_the_best_rates_are_attained(sigma: float) -> None:
    """A = s I with s^2 / sigma^2 = alpha mu, noise against w, alpha the best one: equality."""
    s, delta = 0.8, 0.01
    z = normal(1, *IMAGE, seed=1)
    direction = normal(1, *IMAGE, seed=2)
    direction = direction / norm(direction)
    alpha = 0.25
    w = delta / (alpha * sigma**2) * direction
    mu = s * s / (alpha * sigma**2)
    field = shifted(s, mu, z, w)
    equation = weighted(
        Equation(scaled_identity(s), s * z - delta * direction, field, alpha), sigma
    )
    element = least_norm_element(equation.physics, field.field(z).detach())
    assert torch.allclose(element.w, w, rtol=1e-10)
    assert float(best_alpha(equation, element, delta)) == pytest.approx(alpha, rel=1e-10)
    x = equilibrium(equation)
    bounds = rate_bounds(equation, x, z, element, delta)
    assert bounds.bregman is not None
    assert bounds.distance is not None
    assert bounds.data is not None
    size = delta * float(norm(w))
    near = {"rtol": 1e-4, "atol": 0.0}
    assert float(bounds.bregman) == pytest.approx(size, rel=1e-4)
    assert float(bounds.distance) == pytest.approx((size / mu) ** 0.5, rel=1e-4)
    assert torch.allclose(bounds.bregman, bregman_pairing(field, x, z), **near)
    assert torch.allclose(bounds.distance, norm(x - z), **near)
    assert torch.allclose(bounds.data, norm(s * (x - z)), **near)


def test_the_residual_bound_is_attained() -> None:
    """A = I, noise orthogonal to w, and a skew R that turns ``d = -alpha w`` into the noise."""
    alpha, z = 0.5, normal(1, *IMAGE, seed=1)
    eta, w = normal(1, *IMAGE, seed=2), normal(1, *IMAGE, seed=3)
    w = w - eta * float((w * eta).sum() / (eta * eta).sum())
    u, v = eta.flatten(), w.flatten()
    skew = (torch.outer(v, u) - torch.outer(u, v)) / (alpha**2 * float(norm(w)) ** 2)
    field = Linear(skew, (w.flatten() - skew @ z.flatten()))
    equation = Equation(make_physics("denoise"), z + eta, field, alpha)
    x = equilibrium(equation)
    element = least_norm_element(equation.physics, field.field(z).detach())
    for noise in (norm(eta), None):
        bounds = rate_bounds(equation, x, z, element, noise)
        assert bounds.residual is not None
        measured, proved = float(norm(x - equation.y)), float(bounds.residual)
        assert 0.0 <= proved / measured - 1.0 < 1e-4


@given(case=instances(PHYSICS, STRONG), sigma=st.sampled_from([None, 0.4]))
@settings(max_examples=40, deadline=None)
def test_the_error_is_below_noise_plus_bias(case: Instance, sigma: float | None) -> None:
    equation = case.equation if sigma is None else weighted(case.equation, sigma)
    x = equilibrium(equation)
    delta = norm(case.y - case.clean)
    allowed = truth_error_bound(equation, case.truth, delta) + error_bound(equation, x)
    assert bool((norm(x - case.truth) <= allowed).all())


def test_noise_plus_bias_is_attained() -> None:
    """Scalar A and R, noise against the bias (theory, Thm 7)."""
    s, slope, alpha, delta = 0.7, 0.9, 0.7, 0.2
    z = normal(1, *IMAGE, seed=4)
    direction = z / norm(z)
    equation = Equation(scaled_identity(s), s * z - delta * direction, scalar(slope), alpha)
    error = norm(equilibrium(equation) - z)
    bound = truth_error_bound(equation, z, delta)
    assert bool((error <= bound).all())
    # gamma is reached where s^2 = alpha mu or where no other singular value exists.
    assert float(bound) == pytest.approx(float(error), rel=1e-4)


def test_tikhonov_has_closed_forms() -> None:
    """R = Id: S_beta, the bias and the trace by singular values, to 1e-10 before rounding up."""
    for name in PHYSICS:
        case = Instance(name, "tikhonov", 2, 0.3)
        a = dense_physics(case.physics)
        _, s, v = torch.linalg.svd(a, full_matrices=True)
        squared = torch.cat([s.square(), s.new_zeros(PIXELS - len(s))])
        part = (v @ case.truth.flatten()).square()
        loss = (0.3 * part / (squared + 0.3)).sum()
        found = source_element(case.physics, case.truth, 0.3)
        assert float(found.value) == pytest.approx(float(loss), rel=1e-10), name
        m = float(squared.min()) + 0.3 if case.physics_name in ("denoise", "blur", "ill") else 0.3
        variance = 0.01 * (squared / (squared + 0.3)).sum()
        if name in ("denoise", "mask", "blur", "ill"):
            expected = ((variance + 0.3 * loss) / m).sqrt()
            bound = expected_error_bound(case.equation, case.truth, 0.1)
            assert float(bound) == pytest.approx(float(expected), rel=2e-5), name


def test_mean_square_error_of_tikhonov_is_below_its_bound() -> None:
    """Exactly: the mean over the noise is a trace and a bias."""
    for name in PHYSICS:
        case = Instance(name, "tikhonov", 4, 0.3)
        a = dense_physics(case.physics)
        inverse = torch.linalg.inv(a.mT @ a + 0.3 * torch.eye(PIXELS, dtype=a.dtype))
        bias = (0.3 * inverse @ case.truth.flatten()).square().sum()
        mean = 0.2**2 * (inverse @ a.mT).square().sum() + bias
        assert float(mean.sqrt()) <= float(expected_error_bound(case.equation, case.truth, 0.2))
        heavy = weighted(case.equation, 0.5)
        inverse = torch.linalg.inv(4 * a.mT @ a + 0.3 * torch.eye(PIXELS, dtype=a.dtype))
        bias = (0.3 * inverse @ case.truth.flatten()).square().sum()
        mean = 0.2**2 * (4 * inverse @ a.mT).square().sum() + bias
        assert float(mean.sqrt()) <= float(expected_error_bound(heavy, case.truth, 0.2))


def test_a_batch_is_its_samples() -> None:
    physics, field = make_physics("ill"), Instance("ill", "contractive").regularizer
    z = normal(3, *IMAGE, seed=1)
    y = physics.A(z) + 0.1
    alpha = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    delta = torch.tensor([0.5, 1.0, 0.0])
    batch = Equation(physics, y, field, alpha)
    r = field.field(z).detach()
    element = source_element(physics, r, 0.1)
    together = rate_bounds(batch, z, z, element)
    for i in range(3):
        alone = Equation(physics, y[i : i + 1], field, float(alpha[i]))
        one = z[i : i + 1]
        part = rate_bounds(alone, one, one, source_element(physics, r[i : i + 1], 0.1))
        for name in ("data", "bregman", "distance", "residual"):
            a, b = getattr(together, name), getattr(part, name)
            assert torch.allclose(a[i : i + 1], b, rtol=1e-9), name
        for whole, single in (
            (truth_error_bound(batch, z, delta), truth_error_bound(alone, one, float(delta[i]))),
            (expected_error_bound(batch, z, 0.1), expected_error_bound(alone, one, 0.1)),
        ):
            assert torch.allclose(whole[i : i + 1], single, rtol=1e-9)


def test_without_a_modulus_there_is_no_such_bound() -> None:
    y = normal(1, *IMAGE, seed=1)

    eye = torch.eye(PIXELS, dtype=torch.float64)
    for field, words in (
        (scalar(-0.5), "which is -0.5"),
        (Linear(eye, declare=False), "which is unknown"),
        (Sampled(eye), "ESTIMATED"),
    ):
        equation = Equation(scaled_identity(1.0), y, field, 0.5)
        for bound in (truth_error_bound, expected_error_bound):
            with pytest.raises(HypothesisError, match=words):
                bound(equation, y, 0.1)


@pytest.mark.parametrize("noise", [-1.0, float("nan"), float("inf"), torch.ones(1, 1)])
def test_noise_must_be_a_number_at_least_zero(noise: float) -> None:
    case = Instance("mask", "contractive")
    element = source_element(case.physics, case.truth, 0.1)
    for call in (
        lambda: truth_error_bound(case.equation, case.truth, noise),
        lambda: rate_bounds(case.equation, case.truth, case.truth, element, noise),
        lambda: best_alpha(case.equation, element, noise),
    ):
        with pytest.raises(InputError, match="noise_norm must be a number >= 0"):
            call()


def test_elements_and_levels_of_other_images_are_refused() -> None:
    case = Instance("mask", "contractive")
    element = source_element(case.physics, normal(2, *IMAGE, seed=0), 0.1)
    with pytest.raises(InputError, match="belongs to other images"):
        rate_bounds(case.equation, case.truth, case.truth, element)
    with pytest.raises(InputError, match="noise_norm has 3 entries, for 1 samples"):
        truth_error_bound(case.equation, case.truth, torch.ones(3))
    with pytest.raises(InputError, match=r"truth has shape .* the equation's images"):
        truth_error_bound(replace(case.equation), case.truth[..., :2], 0.1)
