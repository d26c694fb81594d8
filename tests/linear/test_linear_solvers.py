"""Linear solvers against dense oracles, one system per sample."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from linear_systems import Dense, ill_conditioned, indefinite, monotone, normal, positive
from torch import Tensor

from equipoise.errors import InputError, UnknownNameError
from equipoise.linear import (
    GMRES,
    LINEAR_SOLVERS,
    MINRES,
    BiCGStab,
    ConjugateGradients,
    LinearSolver,
    linear_solver_by_name,
)
from equipoise.status import LinearSolution, Status

ALL = [ConjugateGradients, MINRES, GMRES, BiCGStab]
SOLVERS = pytest.mark.parametrize("solver", ALL)
CASES = [
    *((solver, positive(4, 30, 50.0, seed=1)) for solver in ALL),
    *((solver, indefinite(4, 30, 10.0, seed=2)) for solver in (MINRES, GMRES, BiCGStab)),
    *((solver, monotone(4, 30, seed=3)) for solver in (GMRES, BiCGStab)),
]


def assert_honest(solution: LinearSolution, matrix: Tensor, b: Tensor) -> None:
    """The report agrees with a residual computed by other means."""
    residual = torch.linalg.vector_norm(b - (matrix @ solution.x[..., None])[..., 0], dim=1)
    slack = 50 * torch.finfo(b.dtype).eps * torch.linalg.matrix_norm(matrix, 2)
    slack = slack * torch.linalg.vector_norm(solution.x, dim=1)
    slack = slack + 50 * torch.finfo(b.dtype).eps * torch.linalg.vector_norm(b, dim=1)
    assert ((solution.residual - residual).abs() <= slack).all()
    good = solution.residual <= solution.tolerance * solution.scale
    assert torch.equal(good, solution.converged)


@pytest.mark.parametrize(("solver", "matrix"), CASES)
def test_agrees_with_dense_solve(solver: type[LinearSolver], matrix: Tensor) -> None:
    b = normal(4, 30, seed=7)
    solution = solver(tolerance=1e-11, max_products=2000).solve(Dense(matrix), b)
    assert solution.all_converged
    assert_honest(solution, matrix, b)
    torch.testing.assert_close(solution.x, torch.linalg.solve(matrix, b), rtol=0, atol=1e-8)
    assert solution.solver == solver.name


@SOLVERS
def test_image_shaped_batches_in_float32(solver: type[LinearSolver]) -> None:
    matrix = positive(3, 32, 20.0, seed=4).float()
    b = normal(3, 2, 4, 4, seed=8, dtype=torch.float32)

    def apply(v: Tensor) -> Tensor:
        return (matrix @ v.flatten(1)[..., None]).reshape(v.shape)

    solution = solver(tolerance=1e-5).solve(apply, b)
    assert solution.all_converged
    assert solution.x.shape == b.shape
    assert solution.x.dtype == solution.residual.dtype == torch.float32
    expected = torch.linalg.solve(matrix.double(), b.double().flatten(1)).reshape(b.shape)
    torch.testing.assert_close(solution.x.double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("solver", "matrix"),
    [
        *((solver, positive(3, 40, 1e10, seed=5)) for solver in ALL),
        (MINRES, indefinite(3, 40, 1e7, seed=5)),
        *((solver, ill_conditioned(3, 40, 1e8, seed=5)) for solver in (GMRES, BiCGStab)),
    ],
)
def test_hard_systems_are_reported_honestly(solver: type[LinearSolver], matrix: Tensor) -> None:
    b = normal(3, 40, seed=9)
    solution = solver(tolerance=1e-10, max_products=120).solve(Dense(matrix), b)
    assert_honest(solution, matrix, b)
    assert not solution.converged.any()
    assert (solution.evaluations <= 121).all()
    if solver is not ConjugateGradients:
        assert (solution.relative_residual <= 1.0).all()


@SOLVERS
def test_every_product_is_counted(solver: type[LinearSolver]) -> None:
    product = Dense(positive(1, 25, 1e4, seed=6))
    for limit in (1, 2, 7, 60, 500):
        product.calls = 0
        solution = solver(tolerance=1e-12, max_products=limit).solve(product, normal(1, 25, seed=1))
        assert int(solution.evaluations) == product.calls <= limit + 1


@SOLVERS
def test_easy_samples_stop_early_whatever_their_company(solver: type[LinearSolver]) -> None:
    matrix = torch.cat([torch.eye(30, dtype=torch.float64)[None], positive(2, 30, 200.0, seed=7)])
    b = normal(3, 30, seed=10)
    method = solver(tolerance=1e-9, max_products=1000)
    together = method.solve(Dense(matrix), b)
    assert together.all_converged
    assert together.evaluations[0] <= 3
    assert (together.evaluations[1:] > 30).all()
    for i in (0, 1):  # the same sample among strangers: equal to the last bit
        others, right = positive(3, 30, 3.0, seed=8), normal(3, 30, seed=24)
        others[i], right[i] = matrix[i], b[i]
        elsewhere = method.solve(Dense(others), right)
        assert torch.equal(elsewhere.x[i], together.x[i])
        assert elsewhere.evaluations[i] == together.evaluations[i]
        alone = method.solve(Dense(matrix[i : i + 1]), b[i : i + 1])
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=0, atol=1e-6)


@SOLVERS
def test_zero_right_hand_side_gives_zero(solver: type[LinearSolver]) -> None:
    b = normal(3, 20, seed=11)
    b[1] = 0
    product = Dense(positive(3, 20, 10.0, seed=8))
    for x0 in (None, torch.ones_like(b)):
        solution = solver().solve(product, b, x0=x0)
        assert solution.all_converged
        assert (solution.x[1] == 0).all()
        assert solution.residual[1] == 0
        assert solution.scale[1] == 1
        assert solution.evaluations[1] <= 1


@SOLVERS
def test_first_guess(solver: type[LinearSolver]) -> None:
    matrix, b = positive(3, 20, 30.0, seed=9), normal(3, 20, seed=12)
    answer = torch.linalg.solve(matrix, b)
    product = Dense(matrix)
    method = solver(tolerance=1e-8)
    assert method.solve(product, b, x0=answer).evaluations.tolist() == [1, 1, 1]
    assert product.calls == 1

    cold = method.solve(product, b)
    near = answer + 1e-6 * normal(3, 20, seed=13)
    near[2] = 1e6  # worse than zero, hence dropped
    warm = method.solve(product, b, x0=near)
    assert warm.all_converged
    assert (warm.evaluations[:2] < cold.evaluations[:2]).all()
    assert warm.evaluations[2] == cold.evaluations[2] + 1


@SOLVERS
def test_preconditioner_saves_products(solver: type[LinearSolver]) -> None:
    stretch = torch.logspace(-2, 2, 40, dtype=torch.float64)
    matrix = stretch[:, None] * positive(2, 40, 5.0, seed=10) * stretch
    b = normal(2, 40, seed=14)
    product = Dense(matrix)
    method = solver(tolerance=1e-8, max_products=200)
    plain = method.solve(product, b)
    helped = method.solve(product, b, preconditioner=lambda v: v / stretch.square())
    assert not plain.converged.any()
    assert helped.all_converged
    assert_honest(helped, matrix, b)


@SOLVERS
def test_preconditioned_samples_stop_by_themselves(solver: type[LinearSolver]) -> None:
    """One sample is solved by its preconditioner, one gets a poor one, one is easy without."""
    stretch = torch.logspace(-0.5, 0.5, 24, dtype=torch.float64)
    core = torch.cat([torch.eye(24)[None].double(), positive(2, 24, 30.0, seed=18)])
    matrix = stretch[:, None] * core * stretch
    matrix[2] = positive(1, 24, 2.0, seed=19)[0]
    inverse = torch.stack([stretch, stretch.flip(0) ** 0.2, torch.ones(24)]).square().reciprocal()
    b = normal(3, 24, seed=26)
    product = Dense(matrix)
    method = solver(tolerance=1e-8, max_products=2000)
    together = method.solve(product, b, preconditioner=lambda v: inverse * v)
    assert together.all_converged
    assert_honest(together, matrix, b)
    first, second, third = together.evaluations.tolist()
    assert first <= 3
    assert first < third < second
    for i in range(3):
        row = inverse[i : i + 1]
        alone = method.solve(
            Dense(matrix[i : i + 1]), b[i : i + 1], preconditioner=lambda v, row=row: row * v
        )
        spent = int(together.evaluations[i])
        assert abs(int(alone.evaluations) - spent) <= 2 + 0.1 * spent
        distance = (alone.x[0] - together.x[i]).norm() / together.x[i].norm()
        assert float(distance) < 1e-4


@SOLVERS
def test_tiny_and_huge_right_hand_sides(solver: type[LinearSolver]) -> None:
    matrix = positive(2, 16, 10.0, seed=11).float()
    b = normal(2, 16, seed=15, dtype=torch.float32)
    method = solver(tolerance=1e-5)
    reference = method.solve(Dense(matrix), b)
    for factor in (1e-30, 1e30):  # squares of these leave the range of float32
        solution = method.solve(Dense(matrix), b * factor)
        assert solution.all_converged
        torch.testing.assert_close(solution.x / factor, reference.x, rtol=1e-3, atol=1e-4)


@SOLVERS
def test_float32_floor_is_stagnation_and_ends(solver: type[LinearSolver]) -> None:
    matrix, b = positive(3, 40, 100.0, seed=12).float(), normal(3, 40, seed=16).float()
    solution = solver(tolerance=1e-12, max_products=5000).solve(Dense(matrix), b)
    assert solution.statuses == [Status.STAGNATED] * 3
    assert (solution.relative_residual < 1e-5).all()
    assert (solution.evaluations < 1000).all()


@SOLVERS
def test_singular_inconsistent_systems_never_converge(solver: type[LinearSolver]) -> None:
    values = torch.linspace(0.0, 1.0, 20, dtype=torch.float64)  # one eigenvalue is zero
    matrix = torch.diag(values).expand(2, 20, 20)
    b = torch.ones(2, 20, dtype=torch.float64)
    solution = solver(tolerance=1e-6, max_products=200).solve(Dense(matrix), b)
    assert not solution.converged.any()
    assert_honest(solution, matrix, b)
    assert (solution.residual > 0.999).all()  # the least-squares residual is 1
    if solver is MINRES:
        assert (solution.residual < 1.001).all()


@SOLVERS
def test_singular_consistent_systems_converge(solver: type[LinearSolver]) -> None:
    values = torch.linspace(0.0, 1.0, 20, dtype=torch.float64)
    matrix, b = torch.diag(values).expand(2, 20, 20), values.sqrt().expand(2, 20)
    solution = solver(tolerance=1e-8, max_products=300).solve(Dense(matrix), b)
    assert solution.all_converged
    assert_honest(solution, matrix, b)


def test_conjugate_gradients_break_down_on_indefinite_matrices() -> None:
    matrix = torch.cat([positive(1, 20, 10.0, seed=13), indefinite(1, 20, 10.0, seed=13)])
    b = normal(2, 20, seed=17)
    solution = ConjugateGradients().solve(Dense(matrix), b)
    assert solution.statuses == [Status.CONVERGED, Status.BREAKDOWN]
    assert_honest(solution, matrix, b)
    assert torch.isfinite(solution.x).all()
    assert "minres" in solution.summary()
    negative = ConjugateGradients().solve(Dense(-matrix[:1]), b[:1])
    assert negative.statuses == [Status.BREAKDOWN]


def test_minres_says_that_an_inconsistent_system_is_singular() -> None:
    matrix = torch.diag(torch.tensor([0.0, -1.0, 1.0, 2.0], dtype=torch.float64))[None]
    solution = MINRES().solve(Dense(matrix), torch.ones(1, 4, dtype=torch.float64))
    assert solution.statuses == [Status.BREAKDOWN]
    assert solution.evaluations[0] < 15


def test_bicgstab_breaks_down_on_rotations() -> None:
    matrix = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]], dtype=torch.float64)
    b = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    broken = BiCGStab().solve(Dense(matrix), b)  # <r, J r> = 0
    assert broken.statuses == [Status.BREAKDOWN]
    assert GMRES().solve(Dense(matrix), b).all_converged


def test_short_restarts_can_stagnate() -> None:
    shift = torch.roll(torch.eye(10, dtype=torch.float64), 1, 0)[None]
    b = torch.eye(10, dtype=torch.float64)[:1]
    stuck = GMRES(restart=9).solve(Dense(shift), b)
    assert stuck.statuses == [Status.STAGNATED]
    assert stuck.evaluations[0] < 25
    assert GMRES(restart=10).solve(Dense(shift), b).all_converged


@SOLVERS
def test_nan_stays_in_its_sample(solver: type[LinearSolver]) -> None:
    matrix, b = positive(4, 20, 50.0, seed=14), normal(4, 20, seed=18)
    method = solver(tolerance=1e-9)
    clean = method.solve(Dense(matrix), b)
    b[1, 3] = torch.nan
    b[2, 0] = torch.inf
    calls = 0

    def apply(v: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        value = Dense(matrix)(v)
        if calls > 4:
            value[3] = torch.nan
        return value

    solution = method.solve(apply, b)
    assert solution.statuses == [Status.CONVERGED, *[Status.BREAKDOWN] * 3]
    assert torch.isfinite(solution.x).all()
    assert (solution.x[1:3] == 0).all()
    assert solution.evaluations.tolist()[:3] == [int(clean.evaluations[0]), 0, 0]
    torch.testing.assert_close(solution.x[0], clean.x[0], rtol=0, atol=1e-13)


@SOLVERS
def test_no_graph_is_built_and_inputs_stay(solver: type[LinearSolver]) -> None:
    matrix = positive(2, 10, 10.0, seed=15).requires_grad_()
    b = normal(2, 10, seed=19).requires_grad_()
    x0 = normal(2, 10, seed=20)
    kept = b.detach().clone(), x0.clone()
    solution = solver().solve(Dense(matrix), b, x0=x0)
    assert not solution.x.requires_grad
    assert torch.equal(b.detach(), kept[0])
    assert torch.equal(x0, kept[1])


@SOLVERS
def test_operator_that_returns_its_argument(solver: type[LinearSolver]) -> None:
    b = normal(2, 10, seed=21)
    solution = solver().solve(lambda v: v, b, preconditioner=lambda v: v)
    assert solution.all_converged
    torch.testing.assert_close(solution.x, b)


@SOLVERS
def test_bad_input_is_refused(solver: type[LinearSolver]) -> None:
    b, product = normal(2, 5, seed=22), Dense(torch.eye(5, dtype=torch.float64))
    with pytest.raises(InputError, match="tolerance"):
        solver(tolerance=0.0)
    with pytest.raises(InputError, match="tolerance"):
        solver(tolerance=float("nan"))
    with pytest.raises(InputError, match="max_products"):
        solver(max_products=0)
    with pytest.raises(InputError, match="view_as_real"):
        solver().solve(product, torch.complex(b, b))
    with pytest.raises(InputError, match="batch"):
        solver().solve(product, b[0])
    with pytest.raises(InputError, match="batch"):
        solver().solve(product, b[:, :0])
    with pytest.raises(InputError, match=r"x0 has shape \(1, \d+\), but b \(2"):
        solver().solve(product, b, x0=b[:1])
    with pytest.raises(InputError, match=r"x0 is torch.float32.*x0\.to\(torch.float64\)"):
        solver().solve(product, b, x0=b.float())
    with pytest.raises(InputError, match="operator turned"):
        solver().solve(lambda v: v[:, :3], b)
    with pytest.raises(dataclasses.FrozenInstanceError):
        solver().tolerance = 1.0  # type: ignore[misc]
    assert len(solver().solve(product, b[:0]).status) == 0


def test_gmres_refuses_an_empty_basis() -> None:
    with pytest.raises(InputError, match="restart"):
        GMRES(restart=0)


def test_names() -> None:
    assert {cls.name for cls in ALL} == set(LINEAR_SOLVERS)
    assert linear_solver_by_name("gmres") == GMRES()
    assert [cls.needs_symmetric for cls in ALL] == [True, True, False, False]
    with pytest.raises(UnknownNameError, match="Did you mean 'minres'"):
        linear_solver_by_name("minress")


def test_a_recurrence_that_lost_touch_is_caught() -> None:
    matrix, b = positive(3, 60, 1e6, seed=16).float(), normal(3, 60, seed=23).float()
    solution = MINRES(tolerance=1e-6, max_products=1000).solve(Dense(matrix), b)
    # Its recurrence goes on falling while the true residual rises above that of zero.
    assert solution.statuses == [Status.STAGNATED] * 3
    assert (solution.relative_residual < 0.5).all()
    assert_honest(solution, matrix, b)


@SOLVERS
def test_rare_looks_change_no_result(
    solver: type[LinearSolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, b = positive(3, 30, 100.0, seed=17), normal(3, 30, seed=25)
    matrix[0] = torch.eye(30)
    method = solver(tolerance=1e-9, max_products=300)
    reference = method.solve(Dense(matrix), b)
    monkeypatch.setattr("equipoise.linear.loop.stride_on", lambda device: 5)  # as on accelerators
    product = Dense(matrix)
    rare = method.solve(product, b)
    assert rare.all_converged
    assert torch.equal(rare.x, reference.x)
    assert torch.equal(rare.evaluations, reference.evaluations)
    assert product.calls <= int(rare.evaluations.max()) + 8
