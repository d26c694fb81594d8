"""Convolutions in float32 as asked for, where a graphics processor would round their inputs."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_tf32(device: torch.device) -> AbstractContextManager[None]:
    """Keep cuDNN from computing float32 convolutions in TF32, which PyTorch allows by default.

    TF32 rounds the factors to 10 bits of mantissa, while residuals and tolerances here are those of
    float32. What the caller allowed is restored at the end. Nothing happens for other devices.

    PyTorch's switch is one for all threads: it is off from the first thread that enters to the last
    that leaves, and what other packages compute meanwhile is accurate too.
    """
    return _OFF if device.type == "cuda" else nullcontext()


class _Off(AbstractContextManager[None]):
    """The switch, off while any thread is inside."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: list[str] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = [kind.fp32_precision for kind in _kinds()]
                _switch(False, ["ieee", "ieee"])
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _switch("tf32" in self._before, self._before)


def _kinds() -> tuple[Any, Any]:
    cudnn: Any = torch.backends.cudnn
    return cudnn.conv, cudnn.rnn


def _switch(allow: bool, precisions: list[str]) -> None:
    # The older switch first: PyTorch refuses to read it where it contradicts the newer ones.
    torch.backends.cudnn.allow_tf32 = allow
    for kind, precision in zip(_kinds(), precisions, strict=True):
        kind.fp32_precision = precision


_OFF = _Off()
