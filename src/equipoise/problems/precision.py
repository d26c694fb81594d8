"""Bring a user's physics to the precision of the images."""

from __future__ import annotations

import copy

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

#: Real dtype -> the complex one of the same precision.
COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def in_precision(physics: LinearPhysics, dtype: torch.dtype) -> LinearPhysics:
    """The physics itself if its tensors have the precision, otherwise a converted copy.

    ``physics.to(dtype)`` would turn complex tensors into real ones; here they stay complex. A
    copy, because a user's function may hand out the same object again and again.

    Args:
        physics: a deepinv linear physics whose tensors are parameters or buffers.
        dtype: torch.float32 or torch.float64.
    """

    def convert(tensor: Tensor) -> Tensor:
        return tensor.to(_target(tensor, dtype))

    tensors = (*physics.parameters(), *physics.buffers())
    if all(tensor.dtype == _target(tensor, dtype) for tensor in tensors):
        return physics
    converted: LinearPhysics = copy.deepcopy(physics)._apply(convert)
    return converted


def _target(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    if tensor.is_complex():
        return COMPLEX[dtype]
    return dtype if tensor.is_floating_point() else tensor.dtype
