"""BiCGStab (van der Vorst 1992) for any J, with short recurrences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.linear.base import LinearSolver
from equipoise.linear.process import Process, Product
from equipoise.vectors import dot, expand, norm, where


class _BiCGStab(Process):
    products_per_step = 2

    def __init__(self, product: Product, r: Tensor, precondition: Product) -> None:
        super().__init__(product, r)
        self.precondition = precondition
        self.shadow, self.r, self.p = r, r, r
        self.x = torch.zeros_like(r)
        self.rho = dot(r, r)
        # The residual is not monotone: the iterate to return, and its residual, are the best.
        self.best = self.x

    def step(self, active: Tensor) -> None:
        eps = torch.finfo(self.r.dtype).eps
        p = self.precondition(self.p)
        v = self.product(p)
        against = dot(self.shadow, v)
        good = active & (against.abs() > eps * norm(v))
        alpha = torch.where(good, self.rho / against, 0.0)
        s = torch.addcmul(self.r, expand(-alpha, v), v)
        half = self.precondition(s)
        t = self.product(half)
        tt = dot(t, t)
        omega = torch.where(good & (tt > 0), dot(t, s) / tt, 0.0)
        self.x = torch.addcmul(self.x, expand(alpha, p), p)
        self.x = torch.addcmul(self.x, expand(omega, p), half)
        self.r = torch.addcmul(s, expand(-omega, t), t)
        size = norm(self.r)
        better = good & (size < self.residual)
        self.best = where(better, self.x, self.best)
        self.residual = torch.where(better, size, self.residual)

        rho = dot(self.shadow, self.r)
        good &= (rho.abs() > eps * size) & (omega != 0)
        beta = torch.where(good, (rho / self.rho) * (alpha / omega), 0.0)
        self.p = torch.addcmul(self.r, expand(beta, v), torch.addcmul(self.p, expand(-omega, v), v))
        self.rho = rho
        self.broken = active & ~good

    def iterate(self) -> Tensor:
        return self.best


@dataclass(frozen=True)
class BiCGStab(LinearSolver):
    """Solve any system by stabilised bi-conjugate gradients: two products a step, little memory.

    No bound on the residual is known; a breakdown restarts the method from the best iterate with a
    new shadow residual as long as something is gained.
    """

    name: ClassVar[str] = "bicgstab"

    def begin(self, product: Product, r: Tensor, precondition: Product) -> Process:
        """Start BiCGStab with the residual as its own shadow."""
        return _BiCGStab(product, r, precondition)
