"""Why a solve stopped, and what came out of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from torch import Tensor

from equipoise.errors import ConvergenceError, ConvergenceWarning

OnFailure = Literal["ignore", "warn", "error"]


class Status(IntEnum):
    """Why the solve of one sample stopped. Stored per sample as an integer tensor."""

    RUNNING = 0
    CONVERGED = 1
    STAGNATED = 2
    ITERATION_LIMIT = 3
    DIVERGED = 4
    OUT_OF_DOMAIN = 5
    BREAKDOWN = 6

    @property
    def advice(self) -> str:
        """What this status means and what to do about it."""
        return _ADVICE[self]


_ADVICE = {
    Status.RUNNING: "The solve has not finished.",
    Status.CONVERGED: "The residual is below the tolerance.",
    Status.STAGNATED: (
        "The residual no longer decreases, most often because the floating-point floor is reached:"
        " use float64 or a looser tolerance. Far above that floor the iteration cycles or R is not"
        " monotone: use lbfgs for gradient fields, anderson otherwise."
    ),
    Status.ITERATION_LIMIT: (
        "The limit of evaluations was reached while the residual was still decreasing:"
        " allow more evaluations, start nearer, or choose a faster solver."
    ),
    Status.DIVERGED: (
        "The residual grew without bound. The map is expansive for this step: use a smaller step"
        " or alpha, a solver with a searched step (lbfgs for gradient fields, anderson otherwise),"
        " or a contractive regulariser."
    ),
    Status.OUT_OF_DOMAIN: (
        "The iterate left the domain of the data fidelity (for a Poisson likelihood A x must stay"
        " above minus the background): use lbfgs, a positive background, a smaller step,"
        " or a start inside the domain."
    ),
    Status.BREAKDOWN: (
        "The linear solver broke down (the operator is singular or not what the solver assumes):"
        " use gmres, or minres for a symmetric indefinite operator."
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What every solve reports about itself, per sample.

    Args:
        x: the answer, shape (B, ...).
        residual: norm of the equation's residual at ``x``, shape (B,).
        scale: what the residual is measured against, shape (B,).
        tolerance: the relative tolerance that was asked for.
        evaluations: evaluations (or operator products) spent on each sample, shape (B,).
        status: :class:`Status` codes, shape (B,).
        seconds: wall-clock time of the whole batch.
        solver: name of the method that ran.
    """

    x: Tensor
    residual: Tensor
    scale: Tensor
    tolerance: float
    evaluations: Tensor
    status: Tensor
    seconds: float
    solver: str

    @property
    def relative_residual(self) -> Tensor:
        """``residual / scale``, shape (B,)."""
        return self.residual / self.scale

    @property
    def converged(self) -> Tensor:
        """Boolean tensor of shape (B,)."""
        return self.status == Status.CONVERGED

    @property
    def all_converged(self) -> bool:
        """Whether every sample reached the tolerance."""
        return bool(self.converged.all())

    @property
    def statuses(self) -> list[Status]:
        """The statuses as a list of enum members."""
        return [Status(int(code)) for code in self.status.tolist()]

    def summary(self) -> str:
        """One or two plain sentences: how many converged, how far the rest got, what helps."""
        total = len(self.status)
        good = int(self.converged.sum())
        worst = float(self.relative_residual.max()) if total else 0.0
        evaluations = int(self.evaluations.max()) if total else 0
        text = (
            f"{self.solver}: {good} of {total} converged to {self.tolerance:.1e}"
            f" (worst relative residual {worst:.2e}, at most {evaluations} evaluations,"
            f" {self.seconds:.2f} s)."
        )
        failed = [s for s in dict.fromkeys(self.statuses) if s is not Status.CONVERGED]
        return " ".join([text, *(f"{s.name}: {s.advice}" for s in failed)])

    def check(self, on_failure: OnFailure = "warn") -> None:
        """Ignore, warn about, or raise on samples that did not converge.

        Raises:
            ConvergenceError: if ``on_failure`` is ``"error"`` and a sample did not converge.
        """
        if on_failure == "ignore" or self.all_converged:
            return
        if on_failure == "error":
            raise ConvergenceError(self.summary())
        warnings.warn(self.summary(), ConvergenceWarning, stacklevel=3)


@dataclass(frozen=True)
class LinearSolution(Outcome):
    """Outcome of a linear solve ``J x = b``; the scale is ``||b||``."""


@dataclass(frozen=True)
class Solution(Outcome):
    """Outcome of solving the equation.

    Args:
        error_bound: proved bound on the distance of ``x`` to the exact equilibrium, shape (B,),
            or None where the equation is not known to be strongly monotone.
        history: relative residual after each check, shape (checks, B), where it was asked for.
        history_evaluations: evaluations spent at each check, shape (checks, B).
    """

    error_bound: Tensor | None = None
    history: Tensor | None = field(default=None, repr=False)
    history_evaluations: Tensor | None = field(default=None, repr=False)
