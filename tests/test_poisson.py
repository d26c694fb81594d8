"""The Poisson likelihood: its domain, statuses, bounds and derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from deepinv.optim import PoissonLikelihood
from deepinv.physics import BlurFFT, LinearPhysics
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.data_term import data_term
from equipoise.differentiate import adjoint_by_name, attach_gradient, jacobian_free
from equipoise.equation import Equation
from equipoise.regularizers import Regularizer, Tikhonov
from equipoise.solve import solve
from equipoise.solve.accelerated import AcceleratedGradient
from equipoise.solve.anderson import Anderson
from equipoise.solve.fixed_point import FixedPoint
from equipoise.solve.lbfgs import LBFGS
from equipoise.status import Status
from equipoise.testing import dense_physics, dense_products, directional_difference
from small_problems import Mixing, dense, field, newton, normal, physics

SHAPE = (3, 1, 5, 6)
BACKGROUND = 0.2
GAIN = 0.5
SETTINGS = pytest.mark.parametrize(
    ("gain", "denormalize"), [(1.0, True), (GAIN, True), (GAIN, False), (3.0, True)]
)


def positive(*shape: int, seed: int = 1) -> Tensor:
    """Images with values in (0.05, 1.05)."""
    generator = torch.Generator().manual_seed(seed)
    return 0.05 + torch.rand(shape, generator=generator, dtype=torch.float64)


def counts(operator: LinearPhysics, zeros: bool = False) -> Tensor:
    """Poisson counts of positive images, scaled; one zero in each image or none."""
    clean = operator.A(positive(*SHAPE)) + BACKGROUND
    y = torch.poisson(10.0 * clean, generator=torch.Generator().manual_seed(5)).clamp(min=1.0)
    if zeros:
        y[:, :, 0, 0] = 0.0
    return y / 10.0


def wide_blur() -> LinearPhysics:
    """A blur so wide that neighbours hold a pixel without counts inside the domain."""
    values = 0.2 + normal(1, 1, 3, 3, seed=7).abs()
    return BlurFFT(SHAPE[1:], filter=values / values.sum())


def poisson(gain: float = 1.0, denormalize: bool = True) -> PoissonLikelihood:
    return PoissonLikelihood(gain=gain, bkg=BACKGROUND, denormalize=denormalize)


def poisson_equation(
    task: str = "circular",
    regularizer: Regularizer | None = None,
    alpha: float | Tensor = 0.3,
    gain: float = 1.0,
) -> Equation:
    operator = wide_blur() if task == "circular" else physics(task)
    inner = Tikhonov("gradient") if regularizer is None else regularizer
    y = counts(operator, zeros=task == "circular")
    return Equation(operator, y, inner, alpha, poisson(gain))


@pytest.mark.parametrize("gain", [0.05, 1.0, 20.0])
def test_the_domain_is_where_the_logarithm_is_defined(gain: float) -> None:
    fidelity = poisson(gain)
    edge = -BACKGROUND * gain  # log(x / gain + background)
    x = torch.ones(4, 1, 5, 6, dtype=torch.float64)
    x[1, 0, 2, 3], x[2, 0, 4, 5], x[3, 0, 0, 0] = 0.99 * edge, 1.01 * edge, -gain
    equation = Equation(physics("denoise"), torch.ones_like(x), Tikhonov(), 0.3, fidelity)
    inside = equation.in_domain(x)
    assert inside is not None
    assert inside.tolist() == [True, True, False, False]
    energy, _ = equation.potential_and_residual(x)
    assert torch.isfinite(energy).tolist() == inside.tolist()


@SETTINGS
def test_poisson_energy_and_gradient_per_sample(gain: float, denormalize: bool) -> None:
    operator = physics("circular")
    y, x = counts(operator), positive(*SHAPE, seed=2)
    term = data_term(operator, y, poisson(gain, denormalize))
    energy, slope = term.energy_and_gradient(x)
    z = y / gain if denormalize else y
    u = operator.A(x) / gain + BACKGROUND
    torch.testing.assert_close(energy, (-z * u.log() + u - z).flatten(1).sum(1))
    torch.testing.assert_close(slope, operator.A_adjoint((1 - z / u) / gain))
    torch.testing.assert_close(term.gradient(x), slope)
    v = normal(*SHAPE, seed=3)
    difference = directional_difference(lambda p: term.energy_and_gradient(p)[0], x, v)
    torch.testing.assert_close((slope * v).flatten(1).sum(1), difference, rtol=1e-6, atol=1e-6)
    for k in range(len(x)):
        one = data_term(operator, y[k : k + 1], poisson(gain, denormalize))
        alone = one.energy_and_gradient(x[k : k + 1])
        torch.testing.assert_close(alone[0], energy[k : k + 1])
        torch.testing.assert_close(alone[1], slope[k : k + 1])


def test_deepinvs_own_poisson_mixes_samples_and_scales_its_gradient() -> None:
    """Why the data term evaluates ``d`` sample by sample and differentiates it itself."""
    operator = physics("denoise")
    y, x, fidelity = counts(operator), positive(*SHAPE, seed=2), poisson(GAIN)
    apart = torch.cat([fidelity.fn(x[k : k + 1], y[k : k + 1], operator) for k in range(len(x))])
    assert not torch.allclose(fidelity.fn(x, y, operator), apart)
    term = data_term(operator, y, fidelity)
    torch.testing.assert_close(term.energy_and_gradient(x)[0], apart)
    torch.testing.assert_close(fidelity.grad(x, y, operator), GAIN**2 * term.gradient(x))


@SETTINGS
@pytest.mark.parametrize("task", ["circular", "mixing"])
def test_poisson_hessian_product(task: str, gain: float, denormalize: bool) -> None:
    operator: LinearPhysics = physics(task)
    if isinstance(operator, Mixing):
        operator.matrix.abs_()
    y = operator.A(positive(*SHAPE)) + BACKGROUND
    x = positive(*SHAPE, seed=2)
    term = data_term(operator, y, poisson(gain, denormalize))
    product, A = term.hessian(x), dense_physics(operator, x[:1])
    z = y / gain if denormalize else y
    u = operator.A(x) / gain + BACKGROUND
    v = normal(*SHAPE, seed=3)
    for k in range(len(x)):
        H = A.T @ torch.diag((z / (gain * u).square())[k].flatten()) @ A
        torch.testing.assert_close(product(v)[k].flatten(), H @ v[k].flatten())
    slope = directional_difference(term.gradient, x, v)
    torch.testing.assert_close(product(v), slope, rtol=1e-6, atol=1e-6)
    assert not product(v).requires_grad


def test_poisson_jacobian_of_the_whole_equation() -> None:
    operator = physics("valid")
    y = operator.A(positive(1, 1, 5, 6)) + BACKGROUND
    equation = Equation(operator, y, field("untied-conv"), 0.3, poisson(GAIN))
    x = positive(1, 1, 5, 6, seed=2)
    near, J = equation.linearize(x), dense(equation, x)
    torch.testing.assert_close(dense_products(near.jvp, x), J)
    torch.testing.assert_close(dense_products(near.vjp, x), J.T)


@pytest.mark.parametrize("solver", [LBFGS(), FixedPoint(), AcceleratedGradient(), Anderson()])
@pytest.mark.parametrize("task", ["denoise", "circular"])
def test_poisson_solves_reach_the_stationary_point(task: str, solver: object) -> None:
    equation = poisson_equation(task, gain=GAIN)
    solution = solve(
        equation, equation.adjoint_data, solver, tolerance=1e-7, max_evaluations=20_000
    )
    assert solution.all_converged, solution.summary()
    A = dense_physics(equation.physics, equation.adjoint_data[:1])
    z = equation.y.flatten(1) / GAIN
    u = solution.x.flatten(1) @ A.T / GAIN + BACKGROUND
    assert (u > 0).all()
    pull = equation.regularizer.field(solution.x).flatten(1)
    residual = ((1 - z / u) / GAIN) @ A + 0.3 * pull
    torch.testing.assert_close(residual.norm(dim=1), solution.residual, rtol=1e-4, atol=1e-12)
    assert (residual.norm(dim=1) <= 1e-7 * equation.scale).all()
    for k in range(len(u)):
        one = Equation(
            equation.physics,
            equation.y[k : k + 1],
            equation.regularizer,
            0.3,
            equation.data_fidelity,
        )
        exact = newton(one, solution.x[k : k + 1])
        torch.testing.assert_close(solution.x[k : k + 1], exact, rtol=0, atol=2e-4)


def test_leaving_the_domain_is_a_status_and_no_nan() -> None:
    equation = poisson_equation("denoise")
    start = equation.adjoint_data + 0.1
    assert equation.in_domain(start).all()
    solution = solve(equation, start, FixedPoint(step_size=5.0), tolerance=1e-10)
    assert Status.OUT_OF_DOMAIN in solution.statuses
    assert "background" in solution.summary()
    assert torch.isfinite(solution.x).all()
    assert torch.isfinite(solution.residual).all()
    assert equation.in_domain(solution.x).all()


def test_starting_outside_the_domain_is_a_status() -> None:
    equation = poisson_equation("denoise")
    start = equation.adjoint_data.clone()
    start[1] = -1.0
    solution = solve(equation, start, LBFGS(), tolerance=1e-7)
    assert solution.statuses[1] is Status.OUT_OF_DOMAIN
    assert solution.converged.tolist() == [True, False, True]


def test_lbfgs_stays_inside_the_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    # Little background, counts of zero and a start at the edge: full steps would leave.
    operator = wide_blur()
    fidelity = PoissonLikelihood(gain=1.0, bkg=1e-3)
    equation = Equation(operator, counts(operator, True), Tikhonov("gradient"), 0.05, fidelity)
    trials: list[bool] = []
    inside = Equation.in_domain

    def watch(self: Equation, x: Tensor) -> Tensor:
        found = inside(self, x)
        trials.append(bool(found.all()))
        return found

    monkeypatch.setattr(Equation, "in_domain", watch)
    start = torch.full(SHAPE, 1e-3, dtype=torch.float64)
    solution = solve(
        equation, start, LBFGS(preconditioned=False), tolerance=1e-8, max_evaluations=5000
    )
    assert not all(trials)  # some trial points did leave
    assert solution.all_converged, solution.summary()
    assert inside(equation, solution.x).all()


def test_no_count_and_no_neighbour_leave_no_stationary_point() -> None:
    # Without a count the likelihood falls up to the edge of its domain, where it ends.
    operator = physics("denoise")
    equation = Equation(operator, counts(operator, True), Tikhonov(), 0.3, poisson())
    solution = solve(equation, equation.adjoint_data, tolerance=1e-7)
    assert not solution.converged.any()
    assert solution.edge.all()
    assert "edge of the domain" in solution.summary()
    assert torch.isfinite(solution.x).all()
    assert equation.in_domain(solution.x).all()
    torch.testing.assert_close(
        solution.x[:, 0, 0, 0], torch.full((3,), -BACKGROUND).double(), atol=1e-3, rtol=0
    )


def test_stagnation_inside_the_domain_has_another_reason() -> None:
    operator = physics("denoise")
    equation = Equation(operator, counts(operator), Tikhonov(), 0.3, poisson())
    solution = solve(equation, equation.adjoint_data, tolerance=1e-30)
    assert solution.statuses == [Status.STAGNATED] * 3
    assert not solution.edge.any()
    assert "Rounding" in solution.summary()


def test_zero_background_has_a_finite_scale() -> None:
    operator = physics("denoise")
    equation = Equation(operator, positive(*SHAPE), Tikhonov(), 0.3, PoissonLikelihood(bkg=0.0))
    assert torch.isfinite(equation.scale).all()
    solution = solve(equation, equation.adjoint_data, tolerance=1e-9)
    assert solution.all_converged
    # 1 - y / x + alpha x = 0 in every pixel
    exact = (-1 + (1 + 4 * 0.3 * equation.y).sqrt()) / 0.6
    torch.testing.assert_close(solution.x, exact, rtol=0, atol=1e-7)


def test_poisson_bounds() -> None:
    equation = poisson_equation()
    low, high = equation.data.spectrum
    assert (low.value, low.kind) == (0.0, Kind.PROVED)
    assert high.value == math.inf
    assert equation.modulus.value == 0.0
    assert equation.modulus.proved
    assert equation.resolvent() is None
    strong = poisson_equation(regularizer=Tikhonov())
    solution = solve(strong, strong.adjoint_data, tolerance=1e-5)
    exact = solve(strong, solution.x, tolerance=1e-11).x
    distance = (solution.x - exact).flatten(1).norm(dim=1)
    assert solution.all_converged
    assert (distance <= solution.error_bound).all()
    assert (distance > 0).all()


def test_likelihood_of_negative_data_is_not_called_convex() -> None:
    operator = physics("denoise")
    y = counts(operator)
    y[0, 0, 0, 0] = -0.5
    equation = Equation(operator, y, Tikhonov(), 0.3, poisson())
    x = positive(*SHAPE, seed=2)
    direction = torch.zeros(SHAPE, dtype=torch.float64)
    direction[0, 0, 0, 0] = 1.0
    curvature = equation.data.hessian(x)(direction)[0, 0, 0, 0]
    assert curvature < 0
    assert equation.modulus.value <= curvature + 0.3
    assert not equation.modulus.proved


@pytest.mark.parametrize("regularizer", ["tied-conv", "untied-conv"])
def test_poisson_hypergradients_against_finite_differences(regularizer: str) -> None:
    operator, inner = physics("circular"), field(regularizer)
    y = (operator.A(positive(*SHAPE)) + BACKGROUND).requires_grad_()
    alpha = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True)
    weights = [*inner.parameters(), alpha, y]
    target = positive(*SHAPE, seed=4)

    def equation() -> Equation:
        return Equation(operator, y, inner, alpha, poisson(GAIN))

    def equilibrium(tolerance: float = 1e-13) -> Tensor:
        solution = solve(equation(), target, tolerance=tolerance, max_evaluations=20_000)
        assert solution.all_converged, solution.summary()
        return solution.x

    x = attach_gradient(
        equation(), equilibrium(), adjoint_by_name("gmres", tolerance=1e-12), on_failure="error"
    )
    loss = 0.5 * (x - target).square().sum()
    gradients = torch.autograd.grad(loss, weights)
    for k, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        direction = normal(*weight.shape, seed=60 + k)
        direction /= direction.norm()
        values = []
        for step in (-1e-4, 1e-4):
            with torch.no_grad():
                weight.add_(step * direction)
                values.append(float(0.5 * (equilibrium() - target).square().sum()))
                weight.sub_(step * direction)
        slope = (values[1] - values[0]) / 2e-4
        found = float((gradient * direction).sum())
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_jacobian_free_gradient_with_unbounded_curvature() -> None:
    alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    equation = poisson_equation(alpha=alpha)
    x = solve(equation, equation.adjoint_data, tolerance=1e-9).x
    (exact,) = torch.autograd.grad(attach_gradient(equation, x).square().sum(), alpha)
    (free,) = torch.autograd.grad(
        attach_gradient(equation, x, jacobian_free()).square().sum(), alpha
    )
    assert float(exact * free) > 0


@pytest.mark.parametrize("learned", ["nothing", "y", "alpha"])
def test_graph_only_where_something_is_learned(learned: str) -> None:
    operator = physics("circular")
    y = counts(operator).requires_grad_(learned == "y")
    alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=learned == "alpha")
    equation = Equation(operator, y, Tikhonov(), alpha, poisson())
    x = positive(*SHAPE, seed=2)
    assert equation.differentiable_residual(x).requires_grad is (learned != "nothing")
    attached = attach_gradient(equation, solve(equation, x, tolerance=1e-8).x)
    assert attached.requires_grad is (learned != "nothing")
    assert not x.requires_grad
