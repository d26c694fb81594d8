"""The deepinv face: a reconstructor that solves the equation and carries its derivative."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import torch
from deepinv.models.base import Reconstructor
from deepinv.optim.data_fidelity import DataFidelity
from deepinv.physics import LinearPhysics
from torch import Tensor, nn

from equipoise.differentiate import Adjoint, BackwardRecord, attach_gradient
from equipoise.equation import Equation
from equipoise.modes import HALF, verb
from equipoise.regularizers.base import Regularizer
from equipoise.solve import Solver, solve
from equipoise.status import OnFailure, Solution


@dataclass(frozen=True)
class SolveOptions:
    """How the forward equation is solved.

    Args:
        solver: the algorithm; None picks the one that suits the equation's traits.
        tolerance: on the residual, relative to the equation's scale; positive and finite.
        max_evaluations: limit of evaluations per sample, at least 1.
    """

    solver: Solver | None = None
    tolerance: float = 2e-4
    max_evaluations: int = 1000


class _Latest(threading.local):
    """The reports of a thread's latest solves; copies and pickles are empty."""

    solution: Solution | None = None
    backward: BackwardRecord | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class EquilibriumReconstructor(Reconstructor):
    """Map y to the solution x of ``grad_x D(A x, y) + alpha R(x) = 0``, differentiably.

    ``model(y, physics)`` is all that deepinv's Trainer and ``deepinv.test`` need. The forward
    solve builds no graph; the backward pass solves the adjoint equation (no unrolling).

    Args:
        regularizer: the field R.
        alpha: regularisation strength; a ``torch.nn.Parameter`` is learned like any other.
        data_fidelity: a deepinv data fidelity; None is ``deepinv.optim.L2()``.
        options: tolerance, solver and limits of the forward solve.
        adjoint: how the backward equation is solved; None is exact, to the accuracy that the
            forward solve reached.
        on_failure: ignore, warn about, or raise on solves that did not converge.

    Threads may share a reconstructor.
    """

    def __init__(
        self,
        regularizer: Regularizer,
        alpha: float | Tensor = 1.0,
        *,
        data_fidelity: DataFidelity | None = None,
        options: SolveOptions | None = None,
        adjoint: Adjoint | None = None,
        on_failure: OnFailure = "warn",
    ) -> None:
        super().__init__()
        self.regularizer = regularizer
        if isinstance(alpha, nn.Parameter):
            self.alpha: Tensor | float = alpha
        else:
            self.register_buffer("alpha", torch.as_tensor(alpha, dtype=torch.float64))
        self.data_fidelity = data_fidelity
        self.options = SolveOptions() if options is None else options
        self.adjoint = adjoint
        self.on_failure = on_failure
        self._latest = _Latest()

    @property
    def last_solution(self) -> Solution | None:
        """This thread's latest forward solve, with residuals and statuses."""
        return self._latest.solution

    @property
    def last_backward(self) -> BackwardRecord | None:
        """The backward solves of this thread's latest result, likewise, wherever they ran."""
        return self._latest.backward

    def equation(self, y: Tensor, physics: LinearPhysics) -> Equation:
        """The equation of these measurements."""
        return Equation(physics, y, self.regularizer, self.alpha, self.data_fidelity)

    @verb
    def solve(self, y: Tensor, physics: LinearPhysics, x0: Tensor | None = None) -> Solution:
        """Solve the equation and report residual, error bound, evaluations and status.

        Args:
            y: measurements, shape (B, ...).
            physics: deepinv linear physics.
            x0: starting point, shape (B, C, ...); by default ``A^T y``.
        """
        return self._solve(self.equation(y, physics), x0)

    @verb
    def forward(
        self, y: Tensor, physics: LinearPhysics, x0: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """Reconstruct; the result carries the derivative if gradients are enabled.

        Args:
            y: measurements, shape (B, ...).
            physics: deepinv linear physics.
            x0: starting point; by default ``A^T y``.
            kwargs: what deepinv's Trainer may pass besides; ignored.
        """
        equation = self.equation(y, physics)
        solution = self._solve(equation, x0)
        solution.check(self.on_failure)
        record = self._latest.backward = BackwardRecord()
        return attach_gradient(
            equation,
            solution.x,
            self.adjoint,
            on_failure=self.on_failure,
            record=record,
        )

    def _solve(self, equation: Equation, x0: Tensor | None) -> Solution:
        start = equation.adjoint_data if x0 is None else x0
        if isinstance(start, Tensor) and start.dtype in HALF:
            start = start.to(equation.adjoint_data.dtype)
        options = self.options
        solution = self._latest.solution = solve(
            equation,
            start,
            options.solver,
            tolerance=options.tolerance,
            max_evaluations=options.max_evaluations,
        )
        return solution
