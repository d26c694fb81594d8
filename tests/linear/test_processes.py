"""One run of each Krylov method, step by step: what it claims, and who takes part."""

from __future__ import annotations

import pytest
import torch
from linear_systems import Dense, ill_conditioned, normal, positive
from torch import Tensor

from equipoise.linear import GMRES, MINRES, BiCGStab, ConjugateGradients, LinearSolver
from equipoise.linear.gmres import _Gmres
from equipoise.linear.process import Process, identity

SOLVERS = pytest.mark.parametrize(
    "solver", [ConjugateGradients(), MINRES(), GMRES(restart=60), BiCGStab()], ids=lambda s: s.name
)


def begun(solver: LinearSolver, matrix: Tensor, seed: int = 1) -> tuple[Process, Tensor]:
    r = normal(len(matrix), matrix.shape[1], seed=seed)
    r = r / r.norm(dim=1, keepdim=True)
    return solver.begin(Dense(matrix), r, identity), r


def everyone(r: Tensor) -> Tensor:
    return torch.ones(len(r), dtype=torch.bool)


@SOLVERS
@pytest.mark.parametrize("condition", [30.0, 3e3])
def test_claimed_residuals_are_true_and_never_rise(solver: LinearSolver, condition: float) -> None:
    matrix = positive(3, 25, condition, seed=4)
    process, r = begun(solver, matrix)
    last = process.residual
    for _ in range(20):
        process.step(everyone(r))
        true = (r - Dense(matrix)(process.iterate())).norm(dim=1)
        torch.testing.assert_close(process.residual, true, rtol=1e-6, atol=1e-9)
        assert bool((process.residual <= last).all())
        last = process.residual.clone()
    assert bool((last < 0.5).all())


@SOLVERS
@pytest.mark.parametrize("stop", [0, 1, 4])
def test_iterates_of_those_who_stopped_stay(solver: LinearSolver, stop: int) -> None:
    matrix = positive(3, 20, 100.0, seed=5)
    process, r = begun(solver, matrix)
    for _ in range(stop):
        process.step(everyone(r))
    kept = process.iterate().clone() if stop else torch.zeros_like(r)
    running = torch.tensor([True, False, True])
    for _ in range(8):
        process.step(running)
        torch.testing.assert_close(process.iterate()[1], kept[1], rtol=1e-12, atol=1e-14)
        assert not bool(process.broken[1])
    alone, _ = begun(solver, matrix)
    for _ in range(stop + 8):
        alone.step(everyone(r))
    for i in (0, 2):
        torch.testing.assert_close(process.iterate()[i], alone.iterate()[i])


def test_the_basis_of_gmres_is_orthonormal_to_rounding() -> None:
    process, r = begun(GMRES(restart=40), ill_conditioned(2, 40, 1e12, seed=6))
    assert isinstance(process, _Gmres)
    for _ in range(35):
        process.step(everyone(r))
    v = process.v[:, :36]
    torch.testing.assert_close(
        v @ v.mT, torch.eye(36).double().expand(2, 36, 36), atol=1e-13, rtol=0
    )
