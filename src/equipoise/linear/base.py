"""What all linear solvers share: options and the call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from equipoise.checks import require_count, require_positive
from equipoise.linear.loop import solve_by_restarts
from equipoise.linear.process import Process, Product, identity
from equipoise.status import LinearSolution


@dataclass(frozen=True)
class LinearSolver(ABC):
    """A Krylov method for ``J x = b``, one system per sample of a batch.

    Args:
        tolerance: positive, finite; a sample converges when ``||b - J x|| <= tolerance * ||b||``.
        max_products: limit of products with J per sample, at least 1. The one that verifies the
            final residual comes on top, so that a limit of k is "k steps" of a method with one
            product a step.
    """

    #: Name under which users ask for the method.
    name: ClassVar[str]
    #: Whether the method assumes a symmetric J (it is the caller who knows).
    needs_symmetric: ClassVar[bool] = False
    tolerance: float = 1e-6
    max_products: int = 500

    def __post_init__(self) -> None:
        require_positive("tolerance", self.tolerance)
        require_count("max_products", self.max_products)

    def solve(
        self,
        apply: Product,
        b: Tensor,
        x0: Tensor | None = None,
        preconditioner: Product | None = None,
    ) -> LinearSolution:
        """Solve ``J x = b`` without a graph; every sample stops by itself.

        Args:
            apply: ``v -> J v``, linear, on tensors of b's shape, sample by sample.
            b: right-hand sides, real, shape (B, ...).
            x0: first guess; dropped for samples where its residual exceeds that of zero.
            preconditioner: ``v -> M v`` with M near the inverse of J; symmetric positive definite
                for methods that need a symmetric J, any (applied from the right) for the others.

        Returns:
            A :class:`LinearSolution` whose residuals are true ones, ``||b - J x||``, computed by a
            product after the last step. CONVERGED: the true residual meets the tolerance (x = 0
            for b = 0). STAGNATED: the recurrence claims the tolerance but the true residual cannot
            follow, or restarts gain nothing. BREAKDOWN: the method's division by zero, or values
            that are not finite. ITERATION_LIMIT: the products are used up. Of a sample that
            failed x is the iterate of the smallest true residual known (of conjugate gradients
            at the limit the last one: the error falls though the residual may rise), 0 where b is
            not finite. Evaluations are the products made while the sample ran.

        Raises:
            InputError: if b, x0 or the operator's values have the wrong shape or dtype.
        """

        def begin(product: Product, r: Tensor) -> Process:
            return self.begin(product, r, preconditioner or identity)

        return solve_by_restarts(
            begin,
            apply,
            b,
            x0,
            tolerance=self.tolerance,
            max_products=self.max_products,
            name=self.name,
        )

    @abstractmethod
    def begin(self, product: Product, r: Tensor, precondition: Product) -> Process:
        """Start one run of the method on ``J u = r`` from ``u = 0``, r of norm 1 or 0."""
