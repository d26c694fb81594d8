"""How the adjoint equation ``J^T q = g`` of the hypergradient is solved or approximated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.checks import require_count, require_positive
from equipoise.convolutions.circulant import FLOOR, SETTLED_FLOOR
from equipoise.equation import Equation
from equipoise.errors import HypothesisError
from equipoise.linear import (
    GMRES,
    MINRES,
    ConjugateGradients,
    LinearSolver,
    NeumannSeries,
    linear_solver_by_name,
)
from equipoise.modes import verb
from equipoise.randomness import normal_like
from equipoise.status import LinearSolution
from equipoise.vectors import expand, norm

#: Relative residuals below which rounding may not let an ill-conditioned J^T go; and the loosest
#: tolerance that is chosen without being asked.
LEAST_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LOOSEST_TOLERANCE = 1e-2
#: ``w -> J^T w``.
Product = Callable[[Tensor], Tensor]
#: Steps of the power iteration that scales the Neumann series where no constant is known.
POWER_STEPS = 20


class Adjoint(ABC):
    """A way to get ``q`` with ``J^T q = g``, exactly or nearly."""

    #: Whether a residual above the tolerance is a failure (false for truncated series).
    exact: ClassVar[bool] = True

    @abstractmethod
    def solve(
        self, equation: Equation, x: Tensor, transpose: Product, g: Tensor, start: Tensor | None
    ) -> LinearSolution:
        """Return q with its report.

        Args:
            equation: the equation that the solution belongs to.
            x: the solution, shape (B, C, ...).
            transpose: ``w -> J^T w`` at x.
            g: cotangent, shape (B, C, ...).
            start: first guess of q, or None.
        """


@dataclass(frozen=True)
class KrylovAdjoint(Adjoint):
    """Solve ``J^T q = g`` to a tolerance by a Krylov method.

    Args:
        linear: the linear solver with its tolerance and limit of products.
        preconditioned: whether to use the equation's preconditioner at the solution, if any.
    """

    linear: LinearSolver = field(default_factory=GMRES)
    preconditioned: bool = True
    _floor: ClassVar[float] = SETTLED_FLOOR

    def solve(
        self, equation: Equation, x: Tensor, transpose: Product, g: Tensor, start: Tensor | None
    ) -> LinearSolution:
        """Run the linear solver.

        Raises:
            HypothesisError: if the solver needs a symmetric J and R is not a gradient field.
        """
        if self.linear.needs_symmetric and not equation.gradient_field:
            raise HypothesisError(
                f"{self.linear.name} needs a symmetric Jacobian, but R is not a gradient field: "
                "use gmres or bicgstab."
            )
        preconditioner = equation.preconditioner(x, self._floor) if self.preconditioned else None
        return self.linear.solve(transpose, g, x0=start, preconditioner=preconditioner)


@dataclass(frozen=True)
class TruncatedAdjoint(KrylovAdjoint):
    """A fixed small number of steps of a Krylov method, without a claim to be exact.

    The limit of products of the linear solver is what stops it; the report's residual tells how
    far ``J^T q = g`` is from being solved.
    """

    exact: ClassVar[bool] = False
    # Few steps do not make up for small eigenvalues that are wrong.
    _floor: ClassVar[float] = FLOOR


@dataclass(frozen=True)
class NeumannAdjoint(Adjoint):
    """Truncate the Neumann series of the fixed-point map (theory, section 8).

    Formula: ``q = sum_{i <= K} (I - B J^T)^i B g`` with ``B = (A^T A + c I)^{-1}`` where the
    physics is decomposable and ``B = tau I`` otherwise. For a map of contraction factor kappa the
    truncation error of the fixed-point adjoint is at most ``kappa^{K+1} / (1 - kappa) ||g||``.

    Args:
        terms: K >= 0, the index of the last term; 0 is the Jacobian-free gradient.
        step_size: positive tau for ``B = tau I``; None takes the resolvent where there is one, else
            ``2 / (m + L_E)`` or, without known constants, the inverse of an estimate of ``||J||``.

    Raises:
        InputError: if terms or step_size is out of its range.
    """

    exact: ClassVar[bool] = False
    terms: int = 0
    step_size: float | None = None

    def __post_init__(self) -> None:
        require_count("terms", self.terms, least=0)
        if self.step_size is not None:
            require_positive("step_size", self.step_size)

    def solve(
        self, equation: Equation, x: Tensor, transpose: Product, g: Tensor, start: Tensor | None
    ) -> LinearSolution:
        """Sum the terms; the report's residual is the true one of ``J^T q = g``."""
        series = NeumannSeries(terms=self.terms, inverse=self._inverse(equation, transpose, g))
        return series.solve(transpose, g)

    def _inverse(self, equation: Equation, transpose: Product, g: Tensor) -> Product:
        if self.step_size is not None:
            tau = self.step_size
            return lambda v: tau * v
        resolvent = equation.resolvent()
        if resolvent is not None:
            return resolvent[0]
        m, high = equation.modulus, equation.lipschitz
        if m is not None and high is not None and high.proved and equation.disc:
            rate = 2.0 / (max(m.value, 0.0) + high.value)
            if rate > 0:  # no Lipschitz constant of a Poisson likelihood is finite
                return lambda v: rate * v
        size = expand(jacobian_norm(transpose, g), g)
        return lambda v: v / size


def jacobian_free() -> NeumannAdjoint:
    """The Jacobian-free gradient: the Neumann series cut after its first term."""
    return NeumannAdjoint(terms=0)


@verb
def default_adjoint(
    equation: Equation, *, tolerance: float | None = None, max_products: int = 1000
) -> KrylovAdjoint:
    """The exact adjoint that suits the traits.

    Conjugate gradients where J is symmetric and known to be positive semi-definite, MINRES where
    it is symmetric, GMRES otherwise.

    Args:
        equation: the equation whose traits decide.
        tolerance: relative residual of the adjoint equation, positive; None: 1e-5 in float32 and
            1e-10 in float64, what rounding allows.
        max_products: limit of products with J per sample.
    """
    linear: type[LinearSolver] = GMRES
    if equation.gradient_field:
        m = equation.modulus
        linear = ConjugateGradients if m is not None and m.value >= 0 else MINRES
    asked = LEAST_TOLERANCE[equation.adjoint_data.dtype] if tolerance is None else tolerance
    return KrylovAdjoint(linear(tolerance=asked, max_products=max_products))


@verb
def matched_tolerance(equation: Equation, residual: Tensor) -> float:
    r"""The tolerance of the adjoint equation that a solution of this residual deserves.

    Formula: the smallest ``||E(x)|| / scale`` of the batch, kept within what rounding allows and
    1e-2. Let x be :math:`e_1` away from the equilibrium and q leave a residual :math:`e_2` in
    :math:`J^T q = g`, where :math:`J^{-1}` has norm at most 1/m and J and :math:`g = \nabla\ell`
    are Lipschitz with constants :math:`\Lambda, L`. Then q is off by at most
    :math:`(e_2 + (L + \Lambda \|q\|) e_1) / m`, so that an :math:`e_2` below :math:`L e_1` is work
    without use. For the squared distance to a target t, :math:`g = L (x - t)`, this is a *relative*
    residual of :math:`e_1 / \|x - t\|`; with :math:`e_1 \approx \|E(x)\| / m` and targets no
    further away than ``scale / m``, which bounds x itself where E is strongly monotone, it is at
    least the relative residual of the forward solve.

    Args:
        equation: the equation.
        residual: ``E(x)``, shape (B, C, ...).
    """
    gauge = equation.gauge
    reached = float((gauge.size(residual.detach()) / gauge.scale).min())
    least = LEAST_TOLERANCE[residual.dtype]
    return min(LOOSEST_TOLERANCE, max(least, reached))


def adjoint_by_name(name: str, *, tolerance: float = 1e-6, max_products: int = 1000) -> Adjoint:
    """An adjoint by its name.

    Args:
        name: a linear solver's; the same with ``:K`` for K products with J whatever the residual;
            ``"jacobian-free"``; or ``"neumann:K"``.
        tolerance: of the linear solver, positive.
        max_products: limit of products with J per sample.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name == "jacobian-free":
        return jacobian_free()
    head, _, count = name.partition(":")
    if head == "neumann" and count.isdigit():
        return NeumannAdjoint(terms=int(count))
    if count.isdigit() and int(count) > 0:
        steps = type(linear_solver_by_name(head))
        return TruncatedAdjoint(steps(tolerance=tolerance, max_products=int(count)))
    solver = linear_solver_by_name(name)
    return KrylovAdjoint(type(solver)(tolerance=tolerance, max_products=max_products))


@verb
def jacobian_norm(transpose: Product, like: Tensor) -> Tensor:
    """Estimate ``||J||`` of each sample by power iteration on J^T, shape (B,); from below."""
    v = normal_like(like, 0)
    size = torch.ones(len(like), dtype=like.dtype, device=like.device)
    for _ in range(POWER_STEPS):
        v = transpose(v / expand(norm(v), v))
        size = norm(v)
    return size
