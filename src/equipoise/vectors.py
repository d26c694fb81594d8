"""Per-sample vector algebra on batches: the first axis counts samples, the rest is one vector."""

from __future__ import annotations

import torch
from torch import Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each sample, ``<a_i, b_i>`` (real part for complex tensors).

    Args:
        a: tensor of shape (B, ...).
        b: tensor of the same shape.

    Returns:
        Real tensor of shape (B,).
    """
    a, b = a.flatten(1), b.flatten(1)
    if a.is_complex():
        return (a.conj() * b).real.sum(1)
    return torch.linalg.vecdot(a, b)


def norm(a: Tensor) -> Tensor:
    """Euclidean norm of each sample, shape (B,), without underflow or overflow of the squares."""
    a = a.flatten(1)
    plain = torch.linalg.vector_norm(a, dim=1)
    kind = torch.finfo(plain.dtype)
    low, high = (kind.tiny / kind.eps) ** 0.5, kind.max**0.5
    if a.device.type == "cpu" and bool(((plain > low) & (plain < high)).all()):
        return plain
    peak = a.abs().amax(1) if a.shape[1] else plain
    peak = torch.where((peak > 0) & torch.isfinite(peak), peak, 1.0)
    return peak * torch.linalg.vector_norm(a / peak.unsqueeze(1), dim=1)


def expand(scalar: Tensor, like: Tensor) -> Tensor:
    """View a (B,) tensor of per-sample scalars so that it broadcasts against ``like``."""
    return scalar.reshape(-1, *([1] * (like.dim() - 1)))


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Choose whole samples: ``a_i`` where ``condition_i``, else ``b_i``."""
    return torch.where(expand(condition, a), a, b)
