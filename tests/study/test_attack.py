"""Attacks: they find dense norms and attained constants, and never more than is certified."""

from __future__ import annotations

import pytest
import torch
from deepinv.optim.data_fidelity import L2, PoissonLikelihood
from deepinv.physics import DecomposablePhysics, Denoising
from torch import Tensor

from equipoise import Equation
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.stability import bregman_constant, data_constant, norm_constant
from equipoise.conversion import in_precision
from equipoise.differentiate import attach_gradient, default_adjoint
from equipoise.errors import HypothesisError, InputError
from equipoise.regularizers import Regularizer, Residual, build
from equipoise.solve import solve
from equipoise.status import Status
from equipoise.study.attack import Quantity, attack
from equipoise.study.sensitivity import Sensitivity, residual_norm, top_directions
from equipoise.vectors import dot, norm
from small_problems import dense, field, image_shape, measure, newton, normal, physics

CONSTANTS = {"norm": norm_constant, "data": data_constant, "bregman": bregman_constant}


def equation_of(
    name: str, regularizer: Regularizer, alpha: float, seed: int = 1, sigma: float | None = None
) -> Equation:
    made = physics(name)
    y = measure(made, (1, *image_shape(name)), seed)
    return Equation(made, y, regularizer, alpha, None if sigma is None else L2(sigma))


def start(equation: Equation) -> Tensor:
    return torch.zeros_like(equation.adjoint_data)


def dense_sensitivity(equation: Equation, x: Tensor) -> Tensor:
    """``J^{-1} w A^T`` as a real matrix."""
    unit = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    rows = equation.physics.A(unit)
    rows = torch.view_as_real(rows) if rows.is_complex() else rows
    return torch.linalg.solve(dense(equation, x), equation.data.weight * rows.flatten(1))


@pytest.mark.parametrize("name", ["inpaint", "circular", "valid", "mri", "mixing", "tomography"])
@pytest.mark.parametrize("sigma", [None, 0.7])
def test_for_a_linear_field_the_attack_reaches_the_dense_norm(
    name: str, sigma: float | None
) -> None:
    equation = equation_of(name, build("tikhonov"), 0.07, sigma=sigma)
    # The map is linear: a large perturbation makes what the residuals hide negligible.
    radius = 10.0 * float(norm(equation.y))
    found = attack(equation, start(equation), radius, restarts=4, steps=4, linear_steps=60)
    exact = float(torch.linalg.matrix_norm(dense_sensitivity(equation, start(equation)), 2))
    reached = float(found.reached[found.best])
    assert found.proved
    assert reached <= exact
    assert reached >= exact * (1 - 1e-6)


@pytest.mark.parametrize("name", ["contractive", "wcrr"])
@pytest.mark.parametrize("place", ["circular", "mri", "mixing"])
def test_top_directions_are_the_dense_singular_vectors(name: str, place: str) -> None:
    made = field(name)
    equation = equation_of(place, made, 0.05)
    x = (
        newton(equation, start(equation))
        if name == "contractive"
        else 0.1 * normal(*equation.image_shape, seed=4)
    )
    found = top_directions(equation, x, count=2, steps=60, tolerance=1e-11)
    matrix = dense_sensitivity(equation, x)
    expected = torch.linalg.svdvals(matrix)[:2]
    assert torch.allclose(found.values, expected, rtol=1e-7)
    rows = found.directions
    rows = (torch.view_as_real(rows) if rows.is_complex() else rows).flatten(1)
    assert torch.allclose(rows @ rows.mT, torch.eye(2, dtype=torch.float64), atol=1e-8)
    assert torch.allclose((matrix @ rows.mT).norm(dim=0), expected, rtol=1e-6)
    assert bool((found.status == Status.CONVERGED).all())


@pytest.mark.parametrize("quantity", ["norm", "data", "bregman"])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("inpaint", "contractive"),
        ("circular", "contractive"),
        ("mri", "contractive"),
        ("circular", "crr"),
        ("inpaint", "crr"),
        ("circular", "tv"),
    ],
)
def test_no_attack_exceeds_a_proved_constant(
    quantity: Quantity, seed: int, place: str, name: str
) -> None:
    made = build("tv", epsilon=0.3) if name == "tv" else field(name)
    equation = equation_of(place, made, 0.1, seed)
    bound = CONSTANTS[quantity](Hypotheses(equation))
    if bound is None:
        assert quantity == "norm"
        assert not Hypotheses(equation).strong
        return
    radius = 0.2 * float(equation.y.norm())
    options = {"restarts": 4, "steps": 6, "seed": seed, "tolerance": 1e-8}
    found = attack(equation, start(equation), radius, quantity=quantity, **options)
    assert found.proved
    assert bound.proved
    assert float(found.reached.max()) <= bound.value
    # Not vacuous: corrections are small where the equation is well conditioned.
    if name == "contractive":
        assert float(found.reached.max()) > 0.99 * float(found.measured.max())
    if quantity == "data" and name != "tv":
        assert float(found.reached.max()) > 0.8 * bound.value


@pytest.mark.parametrize("quantity", ["norm", "data", "bregman"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-8])
def test_a_loose_solve_is_no_violation(quantity: Quantity, tolerance: float) -> None:
    """Residuals as large as these move the measured ratio; what is reached allows for them."""
    equation = equation_of("circular", field("contractive"), 0.02)
    radius = 1e-3 * float(equation.y.norm())
    options = {"restarts": 4, "steps": 4, "tolerance": tolerance}
    found = attack(equation, start(equation), radius, quantity=quantity, **options)
    bound = CONSTANTS[quantity](Hypotheses(equation))
    assert bound is not None
    assert float(found.reached.max()) <= bound.value
    assert bool((found.reached <= found.measured).all())


@pytest.mark.parametrize("place", ["circular", "valid", "mri", "tomography"])
@pytest.mark.parametrize("sigma", [None, 0.7])
def test_the_gradient_in_the_data_is_that_of_the_implicit_derivative(
    place: str, sigma: float | None
) -> None:
    equation = equation_of(place, field("contractive"), 0.1, sigma=sigma)
    x = newton(equation, start(equation))
    g = normal(*x.shape, seed=8)
    live = equation.with_measurements(equation.y.clone().requires_grad_())
    attached = attach_gradient(live, x, default_adjoint(live, tolerance=1e-12))
    expected = torch.autograd.grad((attached * g).sum(), live.y)[0]
    near = Sensitivity(equation, x, 1e-12)
    assert torch.allclose(near.pull(g), expected, rtol=1e-8, atol=1e-10)
    v = equation.physics.A(normal(*x.shape, seed=9))
    assert float((near.push(v) * g).sum()) == pytest.approx(float(dot(v, expected)), rel=1e-8)


def diagonal(values: Tensor) -> DecomposablePhysics:
    """The physics that multiplies every pixel by its own number."""
    return DecomposablePhysics(mask=values[None, None])


@pytest.mark.parametrize("quantity", ["norm", "bregman"])
@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_constants_are_attained_where_the_spectrum_holds_their_singular_value(
    quantity: Quantity, alpha: float
) -> None:
    """Tikhonov with ``s^2 = alpha mu`` in the spectrum (theory, Thm 2: best possible)."""
    values = torch.cat([torch.tensor([alpha**0.5, 1.0]), torch.rand(14)]).double().reshape(4, 4)
    values[0, 0] = alpha**0.5
    made = diagonal(values)
    equation = Equation(made, normal(1, 1, 4, 4), build("tikhonov"), alpha)
    bound = CONSTANTS[quantity](Hypotheses(equation))
    assert bound is not None
    found = attack(equation, start(equation), 1.0, quantity=quantity, restarts=4, steps=40)
    share = float(found.reached.max()) / bound.value
    assert 0.99 <= share <= 1.0


def test_the_data_constant_is_attained_at_the_largest_singular_value() -> None:
    equation = equation_of("inpaint", build("tikhonov"), 0.3)
    bound = data_constant(Hypotheses(equation))
    assert bound is not None
    found = attack(equation, start(equation), 1.0, quantity="data", restarts=4, steps=20)
    assert 0.999 <= float(found.reached.max()) / bound.value <= 1.0


def test_more_steps_reach_more_and_pixels_that_are_not_observed_are_left_alone() -> None:
    equation = equation_of("inpaint", field("contractive"), 0.1)
    found = attack(equation, start(equation), 0.5, restarts=6, steps=8)
    assert bool((found.history.diff(dim=0) >= 0).all())
    assert bool((found.history[-1] > found.history[0]).all())
    missing = (equation.physics.mask == 0).expand_as(found.perturbation)  # type: ignore[union-attr]
    assert bool((found.perturbation[missing] == 0).all())
    norms = found.perturbation.flatten(1).norm(dim=1)
    assert torch.allclose(norms, found.radius)
    assert set(found.starts) == {"singular", "random"}


def test_what_is_reported_can_be_computed_again() -> None:
    equation = equation_of("circular", field("contractive"), 0.1)
    found = attack(equation, start(equation), 0.5, restarts=4, steps=5)
    k = found.best
    moved = equation.with_measurements(equation.y + found.perturbation[k : k + 1])
    x, z = newton(equation, start(equation)), newton(moved, start(equation))
    ratio = float((z - x).norm() / found.perturbation[k].norm())
    assert float(found.measured[k]) == pytest.approx(ratio, rel=1e-6)
    assert float(found.reached[k]) <= ratio


def test_a_previous_best_is_a_start_and_is_not_lost() -> None:
    equation = equation_of("circular", field("contractive"), 0.1)
    one = attack(equation, start(equation), 0.5, restarts=4, steps=8)
    best = one.perturbation[one.best : one.best + 1]
    two = attack(equation, start(equation), 0.5, restarts=2, steps=1, given=best)
    assert two.starts[-1] == "given"
    assert float(two.history[-1][-1]) >= float(one.measured[one.best]) * (1 - 1e-6)


def test_without_a_modulus_nothing_is_claimed() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, 3, padding=1).double()
    equation = equation_of("circular", Residual(network, channels=1), 0.1)
    found = attack(equation, start(equation), 0.5, restarts=2, steps=3)
    assert not found.proved
    assert torch.equal(found.reached, found.measured)


def test_points_of_failed_solves_do_not_count_without_a_proved_correction() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, 3, padding=1).double()
    equation = equation_of("circular", Residual(network, channels=1), 0.1)
    found = attack(equation, start(equation), 0.5, restarts=2, steps=2, max_evaluations=2)
    assert float(found.reached.max()) == 0.0
    assert bool((found.status != Status.CONVERGED).any())


def test_bad_input_is_refused() -> None:
    two = Equation(Denoising(), normal(2, 1, 4, 4), build("tikhonov"), 0.1)
    with pytest.raises(InputError, match="one sample"):
        attack(two, start(two), 1.0)
    with pytest.raises(InputError, match="one sample"):
        top_directions(two, start(two))
    one = Equation(Denoising(), normal(1, 1, 4, 4), build("tikhonov"), 0.1)
    with pytest.raises(InputError, match="radius"):
        attack(one, start(one), 0.0)
    poisson = Equation(
        Denoising(), normal(1, 1, 4, 4).abs(), build("tikhonov"), 0.1, PoissonLikelihood()
    )
    with pytest.raises(HypothesisError, match="squared norm"):
        attack(poisson, start(poisson), 1.0)


def test_residuals_of_single_precision_are_bounded_by_what_they_are_in_double() -> None:
    equation = equation_of("circular", field("crr"), 0.3)
    double = Equation(equation.physics, equation.y.float().double(), equation.regularizer, 0.3)
    x = solve(double, start(double), tolerance=1e-12).x.float()
    single = Equation(
        in_precision(physics("circular"), torch.float32),
        equation.y.float(),
        field("crr").float(),
        0.3,
    )
    bound = residual_norm(single, x)
    assert bool((norm(double.residual(x.double())) <= bound).all())
    assert bool((bound <= 1e-4 * single.scale).all())
    # What is computed alone may be less: near the solution it is rounding.
    zero = torch.zeros_like(x)
    assert float(residual_norm(single, zero)) > float(norm(single.residual(zero).double()))
