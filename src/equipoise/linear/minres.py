"""MINRES (Paige and Saunders 1975) for symmetric, possibly indefinite J."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.linear.base import LinearSolver
from equipoise.linear.process import Process, Product, advance
from equipoise.vectors import dot, expand, norm

#: Multiple of the machine precision below which ``||J r|| / (||J|| ||r||)`` counts as zero.
SINGULAR = 100.0


class _Minres(Process):
    """Preconditioned Lanczos recurrence and Givens rotations (Elman, Silvester, Wathen 2014)."""

    def __init__(self, product: Product, r: Tensor, precondition: Product) -> None:
        super().__init__(product, r)
        self.precondition = precondition
        self.x, self.r = torch.zeros_like(r), r
        self.w, self.w_old, self.v_old = (torch.zeros_like(r) for _ in range(3))
        z = precondition(r)
        self.gamma = dot(r, z).sqrt()
        self.v, self.u = _normalised(r, z, self.gamma)
        self.eta = self.gamma
        self.size = torch.zeros_like(self.gamma)
        self.sine, self.sine_old = self.size, self.size
        self.cosine, self.cosine_old = self.residual, self.residual

    def step(self, active: Tensor) -> None:
        q = self.product(self.u)
        delta = dot(q, self.u)
        q = torch.addcmul(q, expand(-delta, q), self.v)
        q = torch.addcmul(q, expand(-self.gamma, q), self.v_old)
        z = self.precondition(q)
        gamma = dot(q, z).clamp_min(0.0).sqrt()

        pivot = self.cosine * delta - self.cosine_old * self.sine * self.gamma
        above = self.sine * delta + self.cosine_old * self.cosine * self.gamma
        top = self.sine_old * self.gamma
        length = torch.hypot(pivot, gamma)
        safe = torch.where(length > 0, length, 1.0)
        cosine, sine = pivot / safe, gamma / safe
        w = torch.addcmul(self.u, expand(-top, q), self.w_old)
        w = torch.addcmul(w, expand(-above, q), self.w) / expand(safe, q)
        self.size = torch.maximum(self.size, torch.hypot(delta, gamma + self.gamma))
        rounding = torch.finfo(q.dtype).eps * self.size
        # ||J r|| / ||r|| before this step: zero where the least-squares solution is reached, and
        # then, at the latest, the step is so long that its rounding exceeds the residual.
        slope = torch.hypot(pivot, self.cosine * gamma)
        step = (cosine * self.eta).abs() * norm(w)
        good = active & (slope > SINGULAR * rounding) & (rounding * step < self.residual)
        self.x = advance(self.x, good, cosine * self.eta, w)
        self.eta = -sine * self.eta
        v, u = _normalised(q, z, gamma)
        shrunk = self.r * expand(sine.square(), q)
        self.r = torch.addcmul(shrunk, expand(self.eta * cosine, q), v)
        self.residual = norm(self.r)
        self.broken = active & ~good

        self.v_old, self.v, self.u, self.gamma = self.v, v, u, gamma
        self.w_old, self.w = self.w, w
        self.cosine_old, self.cosine = self.cosine, cosine
        self.sine_old, self.sine = self.sine, sine

    def iterate(self) -> Tensor:
        return self.x


def _normalised(v: Tensor, z: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    factor = expand(torch.where(length > 0, 1.0 / length, 0.0), v)
    return v * factor, z * factor


@dataclass(frozen=True)
class MINRES(LinearSolver):
    """Solve a symmetric system, definite or not, by minimising the residual.

    Reaching the least-squares solution of an inconsistent system is a BREAKDOWN (J is singular).
    """

    name: ClassVar[str] = "minres"
    needs_symmetric: ClassVar[bool] = True

    def begin(self, product: Product, r: Tensor, precondition: Product) -> Process:
        """Start MINRES."""
        return _Minres(product, r, precondition)
