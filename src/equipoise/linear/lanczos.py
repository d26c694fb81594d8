"""Extreme eigenvalues of symmetric operators, approached from inside the spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.vectors import dot, expand, norm


@dataclass(frozen=True)
class RitzValues:
    """What a Krylov space shows of the spectrum of each sample's operator.

    Args:
        lowest: at least the smallest eigenvalue, shape (B,), float64.
        highest: at most the largest eigenvalue, shape (B,), float64.
        products: number of products that were spent.
    """

    lowest: Tensor
    highest: Tensor
    products: int


def ritz_values(apply: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> RitzValues:
    """Approach both ends of the spectrum of a symmetric S by Lanczos' method.

    Formula: extreme eigenvalues of ``Q^T S Q`` with Q an orthonormal basis of
    ``span{v, S v, ..., S^(k-1) v}``. They lie inside the spectrum and move towards its ends as k
    grows, the ends of widest gap first. The basis is kept and every new vector is made orthogonal
    to all of it; the values are drawn inwards by what rounding may have moved them.

    Args:
        apply: ``v -> S v`` on batches of shape (B, ...), S symmetric.
        start: v, shape (B, ...), not zero.
        steps: k, at least 1; the number of products and of image-sized vectors that are held.

    Returns:
        The extreme Ritz values of every sample.
    """
    q = start / expand(norm(start), start)
    basis: list[Tensor] = []
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    alive = torch.ones(len(start), dtype=torch.bool, device=start.device)
    for _ in range(steps):
        basis.append(q)
        w = apply(q)
        value = dot(q, w)
        # A sample whose space is invariant keeps its first quotient, which changes no extreme.
        diagonal.append(value if not diagonal else torch.where(alive, value, diagonal[0]))
        size = norm(w)
        for _ in range(2):
            for b in basis:
                w = w - expand(dot(b, w), w) * b
        rest = norm(w)
        alive = alive & (rest > 1e2 * torch.finfo(w.dtype).eps * size)
        beside.append(torch.where(alive, rest, 0.0))
        if not bool(alive.any()):
            break
        q = w / expand(torch.where(alive, rest, 1.0), w)
    d, e = torch.stack(diagonal, 1).double(), torch.stack(beside, 1).double()[:, :-1]
    matrix = torch.diag_embed(d) + torch.diag_embed(e, 1) + torch.diag_embed(e, -1)
    values = torch.linalg.eigvalsh(matrix)
    low, high = values[:, 0], values[:, -1]
    slack = 16 * torch.finfo(start.dtype).eps * torch.maximum(low.abs(), high.abs())
    middle = 0.5 * (low + high)
    return RitzValues(
        torch.minimum(low + slack, middle), torch.maximum(high - slack, middle), len(basis)
    )
