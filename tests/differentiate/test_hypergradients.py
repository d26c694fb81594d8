"""Hypergradients against finite differences, unrolled autograd and the bounds of the theory."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from equilibria import FIELDS, SHAPE, TASKS, Case, loss, make_physics, normal, relative, unit
from torch import Tensor

from equipoise.differentiate import (
    Adjoint,
    BackwardRecord,
    KrylovAdjoint,
    NeumannAdjoint,
    adjoint_by_name,
    attach_gradient,
    default_adjoint,
    jacobian_free,
    jacobian_norm,
    unroll,
)
from equipoise.equation import Equation
from equipoise.errors import (
    ConvergenceError,
    ConvergenceWarning,
    HypothesisError,
    InputError,
    UnknownNameError,
)
from equipoise.linear import GMRES, MINRES, BiCGStab, ConjugateGradients
from equipoise.regularizers.catalogue import build
from equipoise.status import Status

EXACT = {
    "tied": ("cg", "minres", "gmres", "bicgstab"),
    "untied": ("gmres", "bicgstab"),
    "contractive": ("gmres", "bicgstab"),
}
CASES = pytest.mark.parametrize(("task", "field"), [(t, f) for t in TASKS for f in FIELDS])


@cache
def case(task: str, field: str, activation: str = "tanh") -> Case:
    return Case(task, field, activation)


def exact(name: str) -> Adjoint:
    return adjoint_by_name(name, tolerance=1e-13, max_products=2000)


def hypergradient(
    problem: Case, adjoint: Adjoint | None, record: BackwardRecord | None = None
) -> dict[str, Tensor]:
    weights = problem.weights
    x = attach_gradient(problem.equation(), problem.x, adjoint, on_failure="ignore", record=record)
    gradients = torch.autograd.grad(loss(x), list(weights.values()))
    return dict(zip(weights, gradients, strict=True))


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients.values()])


@cache
def differences(problem: Case, step: float) -> dict[str, float]:
    return {
        name: problem.finite_difference(name, unit(weight, seed=50), step)
        for name, weight in problem.weights.items()
    }


def assert_agrees_with_differences(problem: Case, adjoint: Adjoint, step: float) -> None:
    coarse, fine = differences(problem, 2 * step), differences(problem, step)
    gradients = hypergradient(problem, adjoint)
    for name, weight in problem.weights.items():
        # Both steps give the same: no kink lies between the points, and the limit is reached.
        assert coarse[name] == pytest.approx(fine[name], rel=5e-7), name
        slope = float((gradients[name] * unit(weight, seed=50)).sum())
        assert slope == pytest.approx(fine[name], rel=1e-6), name


# ---- exact adjoints ----------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("field", "name"), [(f, n) for f in FIELDS for n in EXACT[f]])
def test_exact_adjoints_against_finite_differences(task: str, field: str, name: str) -> None:
    assert_agrees_with_differences(case(task, field), exact(name), step=1e-3)


@pytest.mark.parametrize("activation", ["relu", "soft-shrink"])
@pytest.mark.parametrize("field", ["tied", "untied"])
def test_away_from_kinks_against_finite_differences(field: str, activation: str) -> None:
    assert_agrees_with_differences(case("denoise", field, activation), exact("gmres"), step=2e-5)


@CASES
def test_exact_adjoint_against_unrolled_autograd(task: str, field: str) -> None:
    problem = case(task, field)
    tau = 1.0 / float(torch.linalg.matrix_norm(problem.jacobian, 2))
    rate = torch.eye(len(problem.jacobian)) - tau * problem.jacobian
    shrink = float(torch.linalg.eigvals(rate).abs().max())
    steps = round(1.2 * math.log(1e-9) / math.log(shrink))
    assert steps < 1500
    weights = problem.weights
    x = unroll(problem.equation(), problem.x, steps, tau)
    unrolled = torch.autograd.grad(loss(x), list(weights.values()))
    implicit = hypergradient(problem, exact("gmres"))
    for (name, gradient), reference in zip(implicit.items(), unrolled, strict=True):
        assert relative(gradient, reference) < 1e-7, name


@CASES
def test_exact_adjoint_against_a_dense_solve(task: str, field: str) -> None:
    problem = case(task, field)
    x = problem.x.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(x), x)
    q = torch.linalg.solve(problem.jacobian.T, g.flatten()).view(SHAPE)
    weights = problem.weights
    residual = problem.equation().differentiable_residual(problem.x)
    dense = torch.autograd.grad(residual, list(weights.values()), -q)
    for name in EXACT[field]:
        gradients = hypergradient(problem, exact(name))
        for gradient, reference in zip(gradients.values(), dense, strict=True):
            assert relative(gradient, reference) < 1e-9


@CASES
def test_default_adjoint_reports(task: str, field: str) -> None:
    problem, record = case(task, field), BackwardRecord()
    gradients = hypergradient(problem, None, record)
    assert relative(flat(gradients), flat(hypergradient(problem, exact("gmres")))) < 1e-5
    assert record.last is not None
    assert record.last.all_converged
    assert record.last.tolerance == 1e-10
    assert record.last.solver == {"tied": "cg"}.get(field, "gmres")
    assert len(record.solutions) == 1


# ---- what may carry the gradient ---------------------------------------------------------------


def test_weights_need_not_be_leaves_nor_of_the_same_dtype() -> None:
    problem = case("deblur", "tied")
    reference = hypergradient(problem, exact("cg"))
    log_alpha = problem.alpha.detach().log().float().requires_grad_()
    z = (problem.y.detach() / 3).requires_grad_()
    kernel = problem.kernel.detach().float().requires_grad_()
    physics = make_physics("deblur", kernel.double())
    equation = Equation(physics, 3 * z, problem.regularizer, log_alpha.exp())
    x = attach_gradient(equation, problem.x, exact("cg"))
    found = torch.autograd.grad(loss(x), [log_alpha, z, kernel])
    assert [g.dtype for g in found] == [torch.float32, torch.float64, torch.float32]
    expected = (
        reference["alpha"] * problem.alpha.detach(),
        3 * reference["y"],
        reference["kernel"],
    )
    for gradient, target in zip(found, expected, strict=True):
        assert relative(gradient.double(), target) < 1e-5


def test_gradient_of_one_alpha_for_all_samples() -> None:
    problem = case("denoise", "tied")
    reference = hypergradient(problem, exact("cg"))["alpha"]
    for shape in ((), (1,)):
        alpha = torch.full(shape, 0.7, dtype=torch.float64, requires_grad=True)
        values = []
        for shift in (-1e-4, 0.0, 1e-4):
            equation = Equation(
                make_physics("denoise", problem.kernel), problem.y, problem.regularizer, 0.7 + shift
            )
            x = problem.x
            for _ in range(100):
                step = torch.linalg.solve(problem.jacobian, equation.residual(x).flatten())
                x = x - step.view(SHAPE)
            values.append((float(loss(x)), x))
        equation = Equation(
            make_physics("denoise", problem.kernel), problem.y, problem.regularizer, alpha
        )
        attached = attach_gradient(equation, values[1][1], exact("cg"))
        (gradient,) = torch.autograd.grad(loss(attached), alpha)
        slope = (values[2][0] - values[0][0]) / 2e-4
        assert gradient.shape == alpha.shape
        assert float(gradient) == pytest.approx(slope, rel=1e-6)
    assert reference.shape == (2,)


def test_only_what_needs_a_gradient_gets_one() -> None:
    problem = case("denoise", "tied")
    regularizer = build("tikhonov")
    equation = Equation(make_physics("denoise", problem.kernel), problem.y.detach(), regularizer)
    x = 0.5 * problem.y.detach()  # the equilibrium
    assert not attach_gradient(equation, x).requires_grad
    with torch.no_grad():
        assert not attach_gradient(problem.equation(), problem.x).requires_grad
    attached = attach_gradient(problem.equation(), problem.x)
    assert attached.requires_grad
    assert torch.equal(attached.detach(), problem.x)


def test_tikhonov_has_the_closed_form() -> None:
    y = normal(*SHAPE, seed=30).requires_grad_()
    alpha = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    equation = Equation(make_physics("denoise", y), y, build("tikhonov"), alpha)
    x = attach_gradient(equation, y.detach() / 1.5)
    g = normal(*SHAPE, seed=31)
    slope_y, slope_alpha = torch.autograd.grad(x, [y, alpha], g)
    torch.testing.assert_close(slope_y, g / 1.5)
    torch.testing.assert_close(slope_alpha, -(g * y.detach()).sum() / 1.5**2)


# ---- several cotangents ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize(("task", "field"), [("deblur", "tied"), ("inpaint", "untied")])
def test_several_cotangents(task: str, field: str) -> None:
    problem, record = case(task, field), BackwardRecord()
    weights = list(problem.weights.values())
    x = attach_gradient(problem.equation(), problem.x, exact("gmres"), record=record)
    cotangents = normal(3, *SHAPE, seed=40)
    single = [torch.autograd.grad(x, weights, g, retain_graph=True) for g in cotangents]
    together = torch.autograd.grad(x, weights, cotangents, retain_graph=True, is_grads_batched=True)
    for i, one in enumerate(single):
        for gradient, row in zip(one, together, strict=True):
            torch.testing.assert_close(row[i], gradient, rtol=1e-9, atol=1e-10)
    assert len(record.solutions) == 6
    mapped = torch.vmap(lambda g: torch.autograd.grad(x, weights, g, retain_graph=True))(cotangents)
    for row, other in zip(mapped, together, strict=True):
        torch.testing.assert_close(row, other, rtol=1e-9, atol=1e-10)
    # Linear in the cotangent: x -> -(dE/dw)^T J^{-T} g.
    combined = torch.autograd.grad(x, weights, cotangents[0] - 2 * cotangents[1])
    for one, two, total in zip(single[0], single[1], combined, strict=True):
        torch.testing.assert_close(total, one - 2 * two, rtol=1e-9, atol=1e-10)


def test_repeated_backward_accumulates() -> None:
    problem = case("denoise", "untied")
    alpha = problem.alpha
    x = attach_gradient(problem.equation(), problem.x, exact("gmres"))
    value = loss(x)
    try:
        value.backward(retain_graph=True)
        once = alpha.grad.clone()
        value.backward()
        torch.testing.assert_close(alpha.grad, 2 * once)
    finally:
        for weight in problem.weights.values():
            weight.grad = None


def test_second_derivatives_are_refused() -> None:
    problem = case("denoise", "tied")
    x = attach_gradient(problem.equation(), problem.x, exact("cg"))
    bias = problem.weights["bias"]
    for value in (loss(x), x.sum()):  # the second has a constant cotangent
        (gradient,) = torch.autograd.grad(value, bias, create_graph=True)
        with pytest.raises(InputError, match="differentiable once"):
            torch.autograd.grad(gradient.sum(), bias)


# ---- truncated adjoints ------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["denoise", "inpaint"])
@pytest.mark.parametrize("terms", [0, 1, 3, 8])
def test_neumann_series_within_its_bound(task: str, terms: int) -> None:
    """Theory, section 8: error <= ||d_theta T|| kappa^{K+1} / (1 - kappa) ||g||, T = P_alpha."""
    problem = case(task, "contractive")
    equation, weights = equation_with_one_alpha(problem)
    inverse, c = equation.resolvent()
    assert c == pytest.approx(float(equation.alpha))
    low = 1.0 if task == "denoise" else 0.0
    kappa = c * problem.regularizer.contraction / (c + low)

    record = BackwardRecord()
    point = equilibrium_of(problem, equation)
    x = attach_gradient(equation, point, NeumannAdjoint(terms), record=record)
    truncated = torch.cat([g.flatten() for g in torch.autograd.grad(loss(x), weights)])
    x = attach_gradient(equation, point, exact("gmres"))
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss(x), weights)])

    size = theta_norm(equation, point, weights, inverse)
    leaf = point.clone().requires_grad_()
    g = torch.autograd.grad(loss(leaf), leaf)[0].norm()
    error = (truncated - gradient).norm()
    assert error <= size * kappa ** (terms + 1) / (1 - kappa) * g
    assert error > 1e-6 * gradient.norm()  # it is truncated
    assert record.last.evaluations.tolist() == [terms + 1] * 2


def equation_with_one_alpha(problem: Case) -> tuple[Equation, list[Tensor]]:
    physics = make_physics(problem.task, problem.kernel)
    equation = Equation(physics, problem.y.detach(), problem.regularizer, 0.7)
    return equation, list(problem.regularizer.parameters())


def equilibrium_of(problem: Case, equation: Equation) -> Tensor:
    """By the resolvent map, a contraction; independent of the solvers."""
    inverse, _ = equation.resolvent()
    x = problem.x
    for _ in range(500):
        x = x - inverse(equation.residual(x))
    assert equation.residual(x).norm() < 1e-12
    return x


def theta_norm(equation: Equation, x: Tensor, weights: list[Tensor], inverse) -> Tensor:
    """``||(d_theta T)||`` for ``T(x) = x - B E(x)``, from its dense matrix."""
    value = inverse(equation.differentiable_residual(x)).flatten()
    eye = torch.eye(len(value), dtype=value.dtype)
    rows = torch.autograd.grad(value, weights, eye, is_grads_batched=True)
    return torch.linalg.matrix_norm(torch.cat([r.flatten(1) for r in rows], 1), 2)


@pytest.mark.parametrize("field", FIELDS)
def test_neumann_series_is_the_truncated_sum(field: str) -> None:
    problem = case("deblur", field)
    tau, terms = 0.05, 5
    step = torch.eye(len(problem.jacobian)) - tau * problem.jacobian.T
    leaf = problem.x.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(leaf), leaf)
    q = sum(torch.linalg.matrix_power(step, i) @ (tau * g.flatten()) for i in range(terms + 1))
    residual = problem.equation().differentiable_residual(problem.x)
    weights = problem.weights
    expected = torch.autograd.grad(residual, list(weights.values()), -q.view(SHAPE))
    found = hypergradient(problem, NeumannAdjoint(terms, step_size=tau))
    for gradient, reference in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-12)


@CASES
def test_many_terms_approach_the_exact_gradient(task: str, field: str) -> None:
    problem = case(task, field)
    reference = flat(hypergradient(problem, exact("gmres")))
    free = relative(flat(hypergradient(problem, jacobian_free())), reference)
    some = relative(flat(hypergradient(problem, NeumannAdjoint(10))), reference)
    many = relative(flat(hypergradient(problem, NeumannAdjoint(1000))), reference)
    assert free > some > many
    assert many < 1e-6


@pytest.mark.parametrize("steps", [1, 3, 6])
@CASES
def test_truncated_krylov_steps_within_their_bound(task: str, field: str, steps: int) -> None:
    """Theorem 9 with an exact equilibrium: error <= ||d_theta E|| / m * ||J^T q - g||."""
    problem, record = case(task, field), BackwardRecord()
    linear = ConjugateGradients if field == "tied" else GMRES
    truncated = KrylovAdjoint(linear(tolerance=1e-14, max_products=steps))
    found = flat(hypergradient(problem, truncated, record))
    error = (found - flat(hypergradient(problem, exact("gmres")))).norm()
    symmetric = 0.5 * (problem.jacobian + problem.jacobian.T)
    m = torch.linalg.eigvalsh(symmetric).min()
    assert m > 0
    weights = list(problem.weights.values())
    size = theta_norm(problem.equation(), problem.x, weights, lambda v: v)
    assert error <= size / m * record.last.residual.norm() * (1 + 1e-9)
    assert record.last.statuses == [Status.ITERATION_LIMIT] * 2
    assert record.last.evaluations.tolist() == [steps + 1] * 2


# ---- failures ----------------------------------------------------------------------------------


def test_backward_solves_that_fail_are_reported_as_asked() -> None:
    problem = case("inpaint", "untied")
    hopeless = KrylovAdjoint(GMRES(tolerance=1e-10, max_products=2))

    def backward(on_failure: str) -> BackwardRecord:
        record = BackwardRecord()
        x = attach_gradient(
            problem.equation(), problem.x, hopeless, on_failure=on_failure, record=record
        )
        torch.autograd.grad(loss(x), problem.alpha)
        return record

    with pytest.raises(ConvergenceError, match="gmres: 0 of 2 converged"):
        backward("error")
    with pytest.warns(ConvergenceWarning, match="ITERATION_LIMIT"):
        backward("warn")
    record = backward("ignore")
    assert record.last.statuses == [Status.ITERATION_LIMIT] * 2
    assert (record.last.relative_residual > 1e-10).all()
    assert BackwardRecord().last is None


def test_truncated_series_are_no_failure() -> None:
    problem = case("inpaint", "untied")
    x = attach_gradient(problem.equation(), problem.x, jacobian_free(), on_failure="error")
    torch.autograd.grad(loss(x), problem.alpha)


def test_warm_start_saves_products() -> None:
    problem = case("inpaint", "tied")
    cold, warm = BackwardRecord(), BackwardRecord()
    hypergradient(problem, None, cold)
    x = attach_gradient(problem.equation(), problem.x, record=warm, start=cold.last.x)
    torch.autograd.grad(loss(x), problem.alpha)
    assert warm.last.evaluations.tolist() == [1, 1]
    assert cold.last.evaluations.min() > 5


@pytest.mark.parametrize("linear", [ConjugateGradients, MINRES])
def test_symmetric_solvers_refuse_fields_that_are_no_gradients(linear: type) -> None:
    problem = case("denoise", "untied")
    x = attach_gradient(problem.equation(), problem.x, KrylovAdjoint(linear()))
    with pytest.raises(HypothesisError, match="gmres or bicgstab"):
        torch.autograd.grad(loss(x), problem.alpha)


def test_bad_input_is_refused() -> None:
    problem = case("denoise", "tied")
    with pytest.raises(InputError, match="shape"):
        attach_gradient(problem.equation(), problem.x[:1])
    with pytest.raises(InputError, match="terms"):
        NeumannAdjoint(terms=-1)
    with pytest.raises(InputError, match="steps"):
        unroll(problem.equation(), problem.x, 0, 0.1)
    for size in (0.0, torch.tensor([0.1, -0.1])):
        with pytest.raises(InputError, match="step_size"):
            unroll(problem.equation(), problem.x, 2, size)


# ---- choosing ----------------------------------------------------------------------------------


def test_adjoints_by_name() -> None:
    assert adjoint_by_name("bicgstab", tolerance=1e-3, max_products=7) == KrylovAdjoint(
        BiCGStab(tolerance=1e-3, max_products=7)
    )
    assert adjoint_by_name("neumann:12") == NeumannAdjoint(12)
    assert adjoint_by_name("jacobian-free") == jacobian_free() == NeumannAdjoint(0)
    for wrong in ("gmre", "neumann:", "neumann:-1", "neumann"):
        with pytest.raises(UnknownNameError):
            adjoint_by_name(wrong)


def test_default_adjoint_follows_the_traits() -> None:
    assert isinstance(
        default_adjoint(case("inpaint", "tied").equation()).linear, ConjugateGradients
    )
    assert isinstance(default_adjoint(case("inpaint", "untied").equation()).linear, GMRES)
    nonconvex = Equation(
        make_physics("inpaint", normal(1, seed=0)),
        normal(*SHAPE, seed=1),
        build("wcrr").double(),
        2.0,
    )
    assert nonconvex.modulus.value < 0
    assert isinstance(default_adjoint(nonconvex).linear, MINRES)


def test_norm_estimate_is_a_lower_bound() -> None:
    matrix = normal(3, 8, 8, seed=60)
    matrix = matrix @ matrix.mT
    sizes = jacobian_norm(lambda v: (matrix @ v[..., None])[..., 0], normal(3, 8, seed=61))
    dense = torch.linalg.matrix_norm(matrix, 2)
    assert (sizes <= dense * (1 + 1e-12)).all()
    assert (sizes > 0.95 * dense).all()
