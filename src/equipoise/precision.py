"""Convolutions in float32 as asked for, where a graphics processor would round their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


def without_tf32(device: torch.device) -> AbstractContextManager[None]:
    """Keep cuDNN from computing float32 convolutions in TF32, which PyTorch allows by default.

    TF32 rounds the factors to 10 bits of mantissa, while residuals and tolerances here are those of
    float32. What the caller allowed is restored at the end. Nothing happens for other devices.
    """
    return _without_tf32() if device.type == "cuda" else nullcontext()


@contextmanager
def _without_tf32() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    kinds = cudnn.conv, cudnn.rnn
    before = [kind.fp32_precision for kind in kinds]

    def switch(allow: bool, precisions: list[str]) -> None:
        # The older switch first: PyTorch refuses to read it where it contradicts the newer ones.
        cudnn.allow_tf32 = allow
        for kind, precision in zip(kinds, precisions, strict=True):
            kind.fp32_precision = precision

    switch(False, ["ieee", "ieee"])
    try:
        yield
    finally:
        switch("tf32" in before, before)
