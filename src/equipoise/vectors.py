"""Per-sample vector algebra on batches: the first axis counts samples, the rest is one vector."""

from __future__ import annotations

import torch
from torch import Tensor

#: Dtypes that hold the squares of any number of another one.
_WIDER = {torch.float32: torch.float64, torch.complex64: torch.complex128}


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


def looks(a: Tensor) -> bool:
    """Whether branching on its values costs nothing; elsewhere that waits for a device."""
    return a.device.type == "cpu"


def norm(a: Tensor) -> Tensor:
    """Euclidean norm of each sample, shape (B,), without underflow or overflow of the squares."""
    a = a.flatten(1)
    wide = _WIDER.get(a.dtype)
    if wide is not None:
        return torch.linalg.vector_norm(a, dim=1, dtype=wide).to(a.real.dtype)
    peak = a.abs().amax(1) if a.shape[1] else a.real.new_zeros(len(a))
    peak = torch.where((peak > 0) & torch.isfinite(peak), peak, 1.0)
    return peak * torch.linalg.vector_norm(a / peak.unsqueeze(1), dim=1)


def expand(scalar: Tensor, like: Tensor) -> Tensor:
    """View a (B,) tensor of per-sample scalars so that it broadcasts against ``like``."""
    return scalar.reshape(-1, *([1] * (like.dim() - 1)))


def scaled(factor: Tensor, v: Tensor) -> Tensor:
    """Each sample times a number of its own, ``factor_i v_i``, in the precision of v."""
    return expand(factor, v).to(v.real.dtype) * v


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Choose whole samples: ``a_i`` where ``condition_i``, else ``b_i``."""
    return torch.where(expand(condition, a), a, b)
