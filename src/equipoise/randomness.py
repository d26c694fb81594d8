"""Random tensors from seeds: drawn on the CPU in one precision, so the same on every device."""

from __future__ import annotations

import torch
from torch import Tensor


def normal_like(like: Tensor, source: int | torch.Generator) -> Tensor:
    """Independent standard normal numbers; real and imaginary parts of complex ones.

    Args:
        like: for shape, dtype and device.
        source: a seed, or a generator on the CPU to go on from.
    """
    shape = (*like.shape, 2) if like.is_complex() else like.shape
    drawn = torch.randn(shape, generator=_generator(source), dtype=torch.float64)
    return (torch.view_as_complex(drawn) if like.is_complex() else drawn).to(like)


def signs_like(like: Tensor, source: int | torch.Generator) -> Tensor:
    """Independent numbers that are 1 or -1 with equal chance; arguments of :func:`normal_like`."""
    bits = torch.randint(0, 2, like.shape, generator=_generator(source))
    return bits.to(like).mul_(2.0).sub_(1.0)


def _generator(source: int | torch.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(source) if isinstance(source, int) else source
