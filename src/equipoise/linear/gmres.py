"""GMRES (Saad and Schultz 1986) for any J, restarted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.checks import require_count
from equipoise.linear.base import LinearSolver
from equipoise.linear.process import Process, Product

#: Multiple of the machine precision below which what a product adds to the basis is rounding.
INVARIANT = 10.0


class _Gmres(Process):
    """Arnoldi basis V, and the rotations Q that make its Hessenberg matrix triangular (R)."""

    def __init__(self, product: Product, r: Tensor, precondition: Product, size: int) -> None:
        super().__init__(product, r)
        self.precondition, self.shape = precondition, r.shape
        flat, batch = r.flatten(1), len(r)
        self.v = flat.new_empty(batch, size + 1, flat.shape[1])
        self.v[:, 0] = flat
        self.q = torch.eye(size + 1, dtype=r.dtype, device=r.device).repeat(batch, 1, 1)
        self.upper = r.new_zeros(batch, size, size)
        self.rhs = r.new_zeros(batch, size)
        self.steps = 0

    def step(self, active: Tensor) -> None:
        j = self.steps
        basis = self.v[:, : j + 1]
        w = self.product(self.precondition(self.v[:, j].view(self.shape))).flatten(1)
        before = torch.linalg.vector_norm(w, dim=1)
        h = torch.zeros_like(self.q[:, 0])
        for _ in range(2):  # once is not enough for orthogonality to rounding
            part = torch.bmm(basis, w.unsqueeze(2))
            w = torch.baddbmm(w.unsqueeze(1), part.mT, basis, alpha=-1.0).squeeze(1)
            h[:, : j + 1] += part.squeeze(2)
        length = torch.linalg.vector_norm(w, dim=1)
        invariant = ~(length > INVARIANT * torch.finfo(w.dtype).eps * before)
        length = torch.where(invariant, 0.0, length)
        h[:, j + 1] = length
        self.v[:, j + 1] = torch.where(
            invariant[:, None], 0.0, w / torch.where(invariant, 1.0, length)[:, None]
        )

        column = torch.bmm(self.q, h.unsqueeze(2)).squeeze(2)
        pivot = torch.hypot(column[:, j], length)
        singular = ~(pivot > INVARIANT * torch.finfo(w.dtype).eps * before)
        good = active & ~singular
        safe = torch.where(good, pivot, 1.0)
        cosine, sine = (column[:, j] / safe)[:, None], (length / safe)[:, None]
        row, below = self.q[:, j].clone(), self.q[:, j + 1].clone()
        self.q[:, j] = cosine * row + sine * below
        self.q[:, j + 1] = cosine * below - sine * row
        # Where the sample stopped, the triangular system gets an empty equation: y_j = 0.
        self.upper[:, :j, j] = torch.where(good[:, None], column[:, :j], 0.0)
        self.upper[:, j, j] = safe
        self.rhs[:, j] = torch.where(good, self.q[:, j, 0], 0.0)
        self.residual = torch.where(good, self.q[:, j + 1, 0].abs(), self.residual)
        self.broken = active & (singular | invariant)
        self.steps += 1

    def iterate(self) -> Tensor:
        k = self.steps
        y = torch.linalg.solve_triangular(self.upper[:, :k, :k], self.rhs[:, :k, None], upper=True)
        u = torch.bmm(y.mT, self.v[:, :k]).squeeze(1)
        return self.precondition(u.view(self.shape))

    @property
    def full(self) -> bool:
        return self.steps == self.rhs.shape[1]


@dataclass(frozen=True)
class GMRES(LinearSolver):
    """Solve any system by the smallest residual over the Krylov space, restarted.

    Memory: ``restart + 1`` vectors per sample. Without restart the relative residual after j steps
    is at most ``(1 - m^2 / L^2)^{j/2}`` for m-monotone J of norm L (Elman 1982).

    Args:
        restart: steps after which the basis is dropped, at least 1.
    """

    name: ClassVar[str] = "gmres"
    restart: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("restart", self.restart)

    def begin(self, product: Product, r: Tensor, precondition: Product) -> Process:
        """Start GMRES with a basis no larger than the limit of products can fill."""
        return _Gmres(product, r, precondition, min(self.restart, self.max_products))
