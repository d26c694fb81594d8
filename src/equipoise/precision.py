"""Convolutions in float32 as asked for, where a graphics processor would round their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


def without_tf32(device: torch.device) -> AbstractContextManager[None]:
    """Keep cuDNN from computing float32 convolutions in TF32, which PyTorch allows by default.

    TF32 has 10 bits of mantissa: iterations would stall at residuals around 1e-3, and products with
    a Jacobian would not belong to the field that the solver sees. What the caller allowed is
    restored at the end. Nothing happens for other devices.
    """
    return _without_tf32() if device.type == "cuda" else nullcontext()


@contextmanager
def _without_tf32() -> Iterator[None]:
    # Both kinds of layers: PyTorch refuses to read its older switch where they differ.
    kinds = torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision
