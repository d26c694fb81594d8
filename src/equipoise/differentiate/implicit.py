"""The derivative of the equilibrium: one small autograd function around the equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from equipoise.checks import require_like
from equipoise.cotangents import pull_back
from equipoise.differentiate.adjoint import Adjoint, default_adjoint, matched_tolerance
from equipoise.equation import Equation
from equipoise.modes import backward_in_own_precision, ordinary, verb
from equipoise.status import LinearSolution, OnFailure

#: ``g -> q`` with ``J^T q = g``.
AdjointSolve = Callable[[Tensor], Tensor]


@dataclass
class BackwardRecord:
    """What the backward solves reported; filled when ``backward`` runs.

    Args:
        solutions: one :class:`LinearSolution` per cotangent, the latest last.
    """

    solutions: list[LinearSolution] = field(default_factory=list)

    @property
    def last(self) -> LinearSolution | None:
        """The report of the latest backward solve."""
        return self.solutions[-1] if self.solutions else None


@verb
def attach_gradient(
    equation: Equation,
    x: Tensor,
    adjoint: Adjoint | None = None,
    *,
    on_failure: OnFailure = "warn",
    record: BackwardRecord | None = None,
    start: Tensor | None = None,
) -> Tensor:
    r"""Make a solution x of the equation differentiable (implicit function theorem).

    Formula: for ``E(x; w) = 0`` and a cotangent g, ``dL/dw = -(dE/dw)^T q`` with ``J^T q = g``,
    ``J = dE/dx`` (theory, section 8). w are all tensors that require a gradient: parameters of
    R, alpha, y, parameters of the physics, leaves or not, on any device and of any dtype. The
    derivative belongs to the equation, never to the solver that met it.

    The backward pass runs in the state in which physics, R and data fidelity are now: what is
    replaced before (``physics.update(mask=...)``) is put back for its duration. What is changed in
    place before, y, alpha and x included, cannot be put back, and the backward pass raises an
    ``InputError``.

    Args:
        equation: the equation that x solves.
        x: solution, shape (B, C, ...), without a graph.
        adjoint: how ``J^T q = g`` is solved or approximated; by default with a Krylov solver that
            suits the equation's traits, as accurately as x solves the equation
            (:func:`~equipoise.differentiate.matched_tolerance`).
        on_failure: ignore, warn about, or raise on backward solves that did not converge.
        record: where the backward solves report residuals, products and statuses.
        start: first guess of q, shape of x (a warm start).

    Returns:
        A tensor equal to x that carries the derivative; x itself where nothing needs a gradient.

    Raises:
        InputError: if x or start does not match the equation's images, or if the equation's parts
            have been changed since it was built.
    """
    require_like("x", x, equation.like, "the equation's images")
    if start is not None:
        require_like("start", start, equation.like, "the equation's images")
    point = ordinary(x.detach())
    equation.check_unchanged()
    if not torch.is_grad_enabled():
        return point
    held = equation.state(point)
    with backward_in_own_precision() as ends:
        residual = equation.differentiable_residual(point)
        ends.append(residual)
    if not residual.requires_grad:
        return point
    held.settle()
    if adjoint is None:
        method: Adjoint = default_adjoint(equation, tolerance=matched_tolerance(equation, residual))
    else:
        method = adjoint
    book = BackwardRecord() if record is None else record
    products: list[Callable[[Tensor], Tensor]] = []

    def solve(g: Tensor) -> Tensor:
        with held.restored():
            if not products:  # one linearisation serves every cotangent
                products.append(equation.linearize(point).vjp)
            solution = method.solve(equation, point, products[0], g, start)
        book.solutions.append(solution)
        if method.exact:
            solution.check(on_failure)
        return solution.x

    attached: Tensor = _Equilibrium.apply(point, residual, solve)
    return attached


class _Equilibrium(torch.autograd.Function):
    """Forward: x. Backward: ``-q`` to the residual, whose graph holds every parameter."""

    @staticmethod
    def forward(x: Tensor, residual: Tensor, solve: AdjointSolve) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.solve = inputs[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor, None]:
        (q,) = pull_back(lambda one: (ctx.solve(one),), g, *ctx.saved_tensors)
        return None, -q, None
