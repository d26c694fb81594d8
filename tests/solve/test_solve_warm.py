"""Solves that start near their solution: the preconditioner is not made anew needlessly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equipoise.circulant import LocalInverse
from equipoise.equation import Equation
from equipoise.problems import denoise
from equipoise.regularizers import RidgeRegularizer
from equipoise.solve import solve


def equation(seed: int = 0) -> Equation:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    regularizer = RidgeRegularizer(filters=(4, 8)).double()
    y = torch.rand(2, 1, 24, 24, generator=generator, dtype=torch.float64)
    return Equation(denoise((1, 24, 24), dtype=torch.float64).physics, y, regularizer, 0.1)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes of the preconditioners that are made."""
    sizes: list[int] = []
    usual = Equation.preconditioner

    def counted(self: Equation, x: Tensor) -> LocalInverse | None:
        sizes.append(len(x))
        return usual(self, x)

    monkeypatch.setattr(Equation, "preconditioner", counted)
    return sizes


def test_warm_starts_keep_their_first_preconditioner(made: list[int]) -> None:
    problem = equation()
    solution = solve(problem, problem.y, tolerance=1e-9)
    assert solution.all_converged
    assert len(made) >= 4  # at the start, after 1, 3 and 6 steps
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(solution.x.shape, generator=generator, dtype=torch.float64)
    near = solution.x + 1e-3 * noise
    made.clear()
    again = solve(problem, near, tolerance=1e-5)
    assert again.all_converged
    assert 3 < int(again.evaluations.max()) <= 12
    assert made == [2]
    made.clear()
    one_far = torch.cat([near[:1], problem.y[1:]])
    assert solve(problem, one_far, tolerance=1e-5).all_converged
    assert len(made) > 2


def test_long_solves_from_warm_starts_make_it_anew(made: list[int]) -> None:
    problem = equation(1)
    exact = solve(problem, problem.y, tolerance=1e-11)
    made.clear()
    tight = solve(problem, exact.x + 1e-3 * problem.y, tolerance=1e-11)
    assert tight.all_converged
    assert int(tight.evaluations.max()) > 13
    assert len(made) > 1
    torch.testing.assert_close(tight.x, exact.x, rtol=1e-8, atol=1e-9)
