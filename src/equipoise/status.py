"""Why a solve stopped, and what came out of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import torch
from torch import Tensor

from equipoise.errors import ConvergenceError, ConvergenceWarning

OnFailure = Literal["ignore", "warn", "error"]

#: A residual that stopped within this factor of its rounding error stopped there because of it.
NEAR_ROUNDING = 30.0
#: Ratio of the terms of an equation to its scale beyond which the values of the data are to blame.
LARGE_TERMS = 30.0


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
        "The residual no longer decreases: the iteration cycles, R is not monotone, or A_adjoint is"
        " not the adjoint of A. Use a smaller alpha, lbfgs for gradient fields (anderson or"
        " fixed_point otherwise), or a regulariser with a proved modulus."
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

#: Advice for samples that stagnate at the edge of the domain.
EDGE_ADVICE = (
    "The solve ran into the edge of the domain of the data fidelity, where the equation has no"
    " solution (for a Poisson likelihood pixels without counts pull A x down to minus the"
    " background): use a larger background or alpha, or leave such pixels out of the physics."
)


@dataclass(frozen=True)
class Outcome:
    """What every solve reports about itself, per sample.

    Args:
        x: the answer, shape (B, ...).
        residual: size of the equation's residual at ``x``, shape (B,): its norm, weighted where the
            equation says so (``Equation.gauge``).
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
        reasons = [
            f"{status.name}: {self.reason(i)}"
            for i, status in enumerate(self.statuses)
            if status is not Status.CONVERGED
        ]
        return " ".join([text, *dict.fromkeys(reasons)])

    def reason(self, sample: int) -> str:
        """Why the solve of a sample stopped, and what to do."""
        return self.statuses[sample].advice

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
        rounding: estimated size of the rounding error of the residual at ``x``, shape (B,).
        terms: size of the terms whose sum the equation is, shape (B,).
        edge: boolean (B,), where the domain of the data fidelity ends next to ``x``, on the side to
            which the residual leads; None where nothing stagnated in a domain.
        history: relative residual after each check, shape (checks, B), where it was asked for.
        history_evaluations: evaluations spent at each check, shape (checks, B).
    """

    error_bound: Tensor | None = None
    rounding: Tensor | None = None
    terms: Tensor | None = None
    edge: Tensor | None = None
    history: Tensor | None = field(default=None, repr=False)
    history_evaluations: Tensor | None = field(default=None, repr=False)

    def reason(self, sample: int) -> str:
        """Why the solve of a sample stopped, and what to do; names rounding where that is it, and
        the domain of the data fidelity."""
        status = self.statuses[sample]
        if status is not Status.STAGNATED or self.rounding is None or self.terms is None:
            return status.advice
        if self.edge is not None and bool(self.edge[sample]):
            return EDGE_ADVICE
        residual, rounding = float(self.residual[sample]), float(self.rounding[sample])
        numbers, size = torch.finfo(self.x.dtype), float(self.scale[sample])
        if not (numbers.tiny / numbers.eps) ** 0.5 < size < numbers.max**0.5:
            return (
                f"Squares of numbers of the size {size:.0e} are out of the range of the dtype: "
                "multiply the data by a number so that their values are near 1."
            )
        kind, least = str(self.x.dtype).removeprefix("torch."), rounding / size
        text = status.advice
        if residual <= NEAR_ROUNDING * rounding:
            text = (
                f"Rounding in {kind} alone makes a relative residual of about {least:.0e}: use "
                "float64 or a looser tolerance."
            )
        ratio = float(self.terms[sample]) / size
        if ratio > LARGE_TERMS:
            text += (
                f" The values are {ratio:.0f} times larger than what varies in them: subtract an "
                "offset from the data, or mask outliers, before you reconstruct."
            )
        return text
