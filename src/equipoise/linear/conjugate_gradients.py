"""Conjugate gradients (Hestenes and Stiefel 1952) for symmetric positive definite J."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.linear.base import LinearSolver
from equipoise.linear.process import Process, Product, advance
from equipoise.vectors import dot, expand, norm, where


class _ConjugateGradients(Process):
    error_decreases = True
    breakdown_is_final = True

    def __init__(self, product: Product, r: Tensor, precondition: Product) -> None:
        super().__init__(product, r)
        self.precondition = precondition
        self.x, self.r = torch.zeros_like(r), r
        self.smooth_x, self.smooth_r = self.x, self.r
        self.p = precondition(r)
        self.rz = dot(r, self.p)
        self.top = torch.zeros_like(self.residual)

    def step(self, active: Tensor) -> None:
        q = self.product(self.p)
        pq = dot(self.p, q)
        curvature = pq / dot(self.p, self.p)
        self.top = torch.maximum(self.top, curvature)
        # Curvature lost in the rounding of J p cannot be told from a negative one.
        floor = torch.finfo(q.dtype).eps * self.top
        good = active & (curvature > floor) & (self.rz > 0)
        alpha = torch.where(good, self.rz / pq, 0.0)
        self.x = advance(self.x, good, alpha, self.p)
        self.r = advance(self.r, good, -alpha, q)
        z = self.precondition(self.r)
        rz = dot(self.r, z)
        beta = torch.where(good, rz / self.rz, 0.0)
        self.p = where(good, torch.addcmul(z, expand(beta, z), self.p), self.p)
        self.rz = torch.where(good, rz, self.rz)
        self._smooth(good)
        self.broken = active & ~good

    def _smooth(self, good: Tensor) -> None:
        """Move the smoothed iterate towards the new one as far as its residual falls."""
        away = self.r - self.smooth_r
        length = dot(away, away)
        share = -dot(self.smooth_r, away) / torch.where(length > 0, length, 1.0)
        self.smooth_x = advance(self.smooth_x, good, share, self.x - self.smooth_x)
        self.smooth_r = advance(self.smooth_r, good, share, away)
        self.residual = norm(self.smooth_r)

    def iterate(self) -> Tensor:
        return self.smooth_x

    def unfinished(self) -> Tensor:
        return self.x


@dataclass(frozen=True)
class ConjugateGradients(LinearSolver):
    """Solve a symmetric positive definite system by conjugate gradients.

    A direction p with ``<p, J p> <= 0`` (to rounding) shows that J is not positive definite and
    ends the sample with BREAKDOWN. With condition number k the energy error after j steps is at
    most ``2 ((sqrt(k) - 1) / (sqrt(k) + 1))^j`` times that of zero.

    The residuals of conjugate gradients rise and fall. What is returned with a residual within the
    tolerance is therefore smoothed: at each step the point between the last smoothed iterate and
    the new one whose residual is smallest (Zhou and Walker 1994). It takes two more vectors and no
    product, and where the products run out, the iterate itself is returned, whose error is smaller.
    """

    name: ClassVar[str] = "cg"
    needs_symmetric: ClassVar[bool] = True

    def begin(self, product: Product, r: Tensor, precondition: Product) -> Process:
        """Start conjugate gradients."""
        return _ConjugateGradients(product, r, precondition)
