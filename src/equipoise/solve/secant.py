"""Correction pairs of quasi-Newton methods, and the inverse Hessian that they define."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equipoise.solve.system import Preconditioner
from equipoise.vectors import expand, norm


@dataclass
class SecantPairs:
    """The latest differences of iterates (s) and gradients (y) of each sample, in a ring.

    Args:
        s: shape (B, memory, n).
        y: shape (B, memory, n).
        gram: ``<s_i, y_j>``, shape (B, memory, memory); right where pair i is no newer than j.
        kept: 1 for pairs that count, 0 for empty slots and pairs without curvature, (B, memory).
        count: number of pairs written so far; the newest is in slot ``(count - 1) % memory``.
    """

    s: Tensor
    y: Tensor
    gram: Tensor
    kept: Tensor
    count: int

    @classmethod
    def empty(cls, like: Tensor, memory: int) -> SecantPairs:
        """No pairs of vectors shaped like ``like``, (B, ...)."""
        batch, size = len(like), like[0].numel() if len(like) else 0
        s = like.new_zeros(batch, memory, size)
        gram = like.new_zeros(batch, memory, memory)
        return cls(s, s.clone(), gram, like.new_zeros(batch, memory), 0)

    def select(self, keep: Tensor) -> SecantPairs:
        """The pairs of the samples ``keep`` (indices)."""
        parts = (self.s[keep], self.y[keep], self.gram[keep], self.kept[keep])
        return SecantPairs(*parts, self.count)

    def forget(self, samples: Tensor) -> SecantPairs:
        """Drop all pairs of some samples, boolean (B,)."""
        return replace(self, kept=self.kept.masked_fill(samples.unsqueeze(1), 0.0))

    def latest(self, number: int, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The latest s and y, each of shape (B, number or fewer, *shape)."""
        memory = self.s.shape[1]
        slots = [(self.count - 1 - i) % memory for i in range(min(number, memory, self.count))]
        return self.s[:, slots].unflatten(2, shape), self.y[:, slots].unflatten(2, shape)

    def push(self, s: Tensor, y: Tensor) -> tuple[SecantPairs, Tensor]:
        """Overwrite the oldest pair, in place; a pair without curvature leaves its slot empty.

        Args:
            s: shape (B, ...).
            y: shape (B, ...).

        Returns:
            The pairs, and ``<s, y>`` where it is positive beyond rounding, else 0, shape (B,).
        """
        s, y = s.flatten(1), y.flatten(1)
        slot = self.count % self.s.shape[1]
        self.s[:, slot], self.y[:, slot] = s, y
        column = products(self.s, y)
        tiny = torch.finfo(s.dtype).eps
        curvature = column[:, slot]
        good = curvature > tiny * norm(s) * norm(y)
        self.gram[:, :, slot] = column
        self.kept[:, slot] = good.to(s.dtype)
        return replace(self, count=self.count + 1), torch.where(good, curvature, 0.0)

    def inverse_product(self, e: Tensor, gamma: Tensor, initial: Preconditioner | None) -> Tensor:
        """Apply the inverse Hessian of L-BFGS to ``e``.

        The two-loop recursion (Nocedal and Wright, algorithm 7.4) with each loop as a triangular
        solve: with ``R_ij = <s_i, y_j>`` for i no newer than j and ``D = diag(R)``,
        ``R a = S^T e``, ``z = gamma P (e - Y a)``, ``R^T c = D a - Y^T z``, ``H e = z + S c``.

        Args:
            e: gradient, shape (B, ...).
            gamma: scale of the initial inverse Hessian, shape (B,).
            initial: map P that gamma scales, near the inverse of the Hessian; None: the identity.
        """
        flat = e.flatten(1)
        memory = self.s.shape[1]
        shift = self.count % memory
        kept = self.kept.roll(-shift, 1)
        gram = self.gram.roll((-shift, -shift), (1, 2))
        gram = gram * (kept.unsqueeze(2) * kept.unsqueeze(1))
        diagonal = gram.diagonal(dim1=1, dim2=2)
        curvature = diagonal.clone()
        diagonal.add_(1.0 - kept)

        def against(vectors: Tensor, v: Tensor) -> Tensor:
            """Inner products with the pairs that count, oldest first, (B, memory, 1)."""
            return (products(vectors, v).roll(-shift, 1) * kept).unsqueeze(2)

        def combine(v: Tensor, weights: Tensor, vectors: Tensor, sign: float) -> Tensor:
            weights = weights.mT.roll(shift, 2)
            return torch.baddbmm(v.unsqueeze(1), weights, vectors, alpha=sign).squeeze(1)

        a = torch.linalg.solve_triangular(gram, against(self.s, flat), upper=True)
        q = combine(flat, a, self.y, -1.0)
        if initial is not None:
            q = initial(q.reshape(e.shape)).flatten(1)
        z = expand(gamma, q) * q
        right = curvature.unsqueeze(2) * a - against(self.y, z)
        c = torch.linalg.solve_triangular(gram.mT, right, upper=False)
        return combine(z, c, self.s, 1.0).reshape(e.shape)


def products(vectors: Tensor, v: Tensor) -> Tensor:
    """``<vectors_k, v>`` of each sample, (B, memory); a row times a matrix is the fast order."""
    return torch.bmm(v.unsqueeze(1), vectors.mT).squeeze(1)
