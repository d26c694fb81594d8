"""Truncated Neumann series: the Jacobian-free gradient and its extensions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.checks import require_count, require_positive
from equipoise.linear.loop import check_system, checked
from equipoise.linear.process import Product
from equipoise.modes import verb
from equipoise.status import LinearSolution, Status
from equipoise.vectors import norm

#: A residual this many times larger than the right-hand side counts as divergence.
DIVERGENCE = 1e4


@dataclass(frozen=True)
class NeumannSeries:
    """Approximate ``J^{-1} b`` by the first terms of a series.

    Formula: ``q_K = sum_{i <= K} (I - B J)^i B b``, by ``q_k = q_{k-1} + B (b - J q_{k-1})``.
    If ``||I - B J|| <= kappa < 1`` then ``||q_K - J^{-1} b|| <= kappa^{K+1} / (1 - kappa) ||B b||``
    (theory, section 8).

    Args:
        terms: K >= 0, index of the last term; 0 gives ``B b`` (Jacobian-free).
        inverse: ``v -> B v``, a rough inverse of J.
        tolerance: relative residual that counts as converged.
    """

    name: ClassVar[str] = "neumann"
    terms: int
    inverse: Product
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        require_count("terms", self.terms, least=0)
        require_positive("tolerance", self.tolerance)

    @verb
    def solve(self, apply: Product, b: Tensor) -> LinearSolution:
        """Sum the series; every sample gets all terms.

        Args:
            apply: ``v -> J v`` on batches of b's shape.
            b: right-hand sides, real, shape (B, ...).

        Returns:
            The sum with its true residual ``||b - J q||``. CONVERGED where that meets the
            tolerance, DIVERGED where it exceeds ``1e4 ||b||`` or is not finite (the map expands),
            ITERATION_LIMIT otherwise: the usual case of a truncated series.

        Raises:
            InputError: if b or the operator's values have the wrong shape or dtype.
        """
        check_system(b)
        started = time.perf_counter()
        product = checked(apply, b)
        with torch.no_grad():
            q = self.inverse(b)
            for _ in range(self.terms):
                q = q + self.inverse(b - product(q))
            residual, size = norm(b - product(q)), norm(b)
        scale = torch.where(size > 0, size, 1.0)
        status = torch.full((len(b),), Status.ITERATION_LIMIT, device=b.device)
        status.masked_fill_(~(residual <= DIVERGENCE * scale), int(Status.DIVERGED))
        status.masked_fill_(
            torch.isfinite(scale) & (residual <= self.tolerance * scale), int(Status.CONVERGED)
        )
        return LinearSolution(
            x=q,
            residual=residual,
            scale=scale,
            tolerance=self.tolerance,
            evaluations=torch.full_like(status, self.terms + 1),
            status=status,
            seconds=time.perf_counter() - started,
            solver=self.name,
        )
