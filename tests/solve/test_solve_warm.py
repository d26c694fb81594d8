"""Solves that start near their solution: the preconditioner is not made anew needlessly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from equipoise.convolutions.circulant import LocalInverse
from equipoise.equation import Equation
from equipoise.problems import denoise
from equipoise.regularizers import RidgeRegularizer
from equipoise.solve import LBFGS, solve

SLOPE = 50.0
WARM = LBFGS(warm=True)


def equation(seed: int = 0) -> Equation:
    """Denoising with steep potentials, so that the curvature depends on the point."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    regularizer = RidgeRegularizer(filters=(4, 8)).double()
    with torch.no_grad():
        regularizer.profile.log_slope.fill_(math.log(SLOPE))
    y = torch.rand(2, 1, 24, 24, generator=generator, dtype=torch.float64)
    return Equation(denoise((1, 24, 24), dtype=torch.float64).physics, y, regularizer)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes of the preconditioners that are made."""
    sizes: list[int] = []
    usual = Equation.preconditioner

    def counted(self: Equation, x: Tensor, floor: float | Tensor) -> LocalInverse | None:
        sizes.append(len(x))
        return usual(self, x, floor)

    monkeypatch.setattr(Equation, "preconditioner", counted)
    return sizes


def moved(x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return x + 1e-3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def test_warm_starts_keep_their_first_preconditioner(made: list[int]) -> None:
    problem = equation()
    solution = solve(problem, problem.y, tolerance=1e-9)
    assert solution.all_converged
    assert len(made) >= 4  # at the start, after 1, 3 and 6 steps
    made.clear()
    near = moved(solution.x)
    again = solve(problem, near, WARM, tolerance=1e-7)
    assert again.all_converged
    assert 4 < int(again.evaluations.max()) <= 12
    assert made == [2]
    made.clear()
    assert solve(problem, near, tolerance=1e-7).all_converged  # nobody said that it is warm
    assert len(made) > 2
    made.clear()
    one_far = torch.cat([near[:1], torch.zeros_like(near[1:])])
    assert solve(problem, one_far, WARM, tolerance=1e-7).all_converged
    assert len(made) > 2


def test_long_solves_from_warm_starts_make_it_anew(
    made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.solve.refreshing.NEAR_REFRESH", 6)
    problem = equation(1)
    exact = solve(problem, problem.y, tolerance=1e-12)
    made.clear()
    tight = solve(problem, moved(exact.x), WARM, tolerance=1e-12)
    assert tight.all_converged
    assert int(tight.evaluations.max()) > 7
    assert len(made) > 1
    torch.testing.assert_close(tight.x, exact.x, rtol=1e-8, atol=1e-9)
