"""Solves of a study: tight, batched, warm-started, with their statuses."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from equipoise.equation import Equation
from equipoise.solve import Anderson, Resolvent, Solver, default_solver, solve
from equipoise.status import Solution, Status
from equipoise.study.cases import Case
from equipoise.study.settings import StudySettings

#: Smallest relative residual that float64 reaches reliably.
FLOOR = 2e-14
#: Evaluations without progress after which a solve has stagnated: flows pass saddles slowly.
PATIENCE = 400


def equation_of(case: Case, y: Tensor, alpha: float | Tensor) -> Equation:
    """The equation of a case for data y, shape (B, ...), and strength alpha."""
    return Equation(case.physics, y, case.regularizer, alpha)


def solve_case(
    case: Case,
    y: Tensor,
    alpha: float | Tensor,
    settings: StudySettings,
    x0: Tensor | None = None,
) -> Solution:
    """Solve a case's equation for a batch of data; never raises for lack of convergence.

    The tolerance on ``||E(x)||`` shrinks with alpha, because ``alpha R`` does.

    Args:
        case: physics and regulariser.
        y: data, shape (B, ...).
        alpha: one strength, or one per sample.
        settings: tolerance (times alpha, where that is below 1) and limit of evaluations.
        x0: start, shape (B, C, H, W); zero by default.
    """
    equation = equation_of(case, y, alpha)
    start = torch.zeros_like(equation.adjoint_data) if x0 is None else x0
    weakest = float(torch.as_tensor(alpha).min())
    return solve(
        equation,
        start,
        solver_for(equation),
        tolerance=max(FLOOR, settings.tolerance * min(1.0, weakest)),
        max_evaluations=settings.max_evaluations,
        patience=PATIENCE,
    )


def solver_for(equation: Equation) -> Solver:
    """The solver of a study's solves.

    With an exact inverse of ``A^T A + c I`` no method sees the conditioning of A.

    Anderson's method is fastest then; but where R is not known to be monotone it may get stuck
    where the residual is small and not zero, and plain steps go on.
    """
    if equation.resolvent() is None:
        return default_solver(equation)
    return Anderson() if equation.traits.monotone else Resolvent()


def worst_status(statuses: Iterable[Status]) -> str:
    """Name of the first status that is not CONVERGED; CONVERGED if there is none."""
    return next((s.name for s in statuses if s is not Status.CONVERGED), Status.CONVERGED.name)


def only_solved(values: Tensor, solution: Solution) -> Tensor:
    """The values (B,) with NaN where the sample's solve did not converge."""
    return torch.where(solution.converged, values, torch.full_like(values, math.nan))
