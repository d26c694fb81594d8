"""A weights file to test with, and what rewrites parts of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import equipoise.regularizers.io as weights_files
from equipoise.regularizers import ContractiveResidual, save_regularizer
from equipoise.tensor_files import read_tensors, write_tensors

RECORD = {"version": "0.1", "seed": 3, "data": ["a", "b"], "loss": {"final": 0.25}}


def small_residual() -> ContractiveResidual:
    torch.manual_seed(0)
    return ContractiveResidual(width=4, depth=2, kernel_size=3)


def saved(folder: Path) -> Path:
    """A file of :func:`small_residual`."""
    target = folder / "weights.safetensors"
    save_regularizer(target, small_residual(), RECORD)
    return target


def rewrite(path: Path, texts: dict[str, str | None] | None = None, **tensors: Any) -> None:
    """Write the file again, sealed, with some metadata or tensors replaced (None: removed)."""
    file = read_tensors(path, weights_files.WEIGHTS)
    found = {**file.tensors, **tensors}
    told = {**file.texts, **(texts or {})}
    write_tensors(
        path,
        weights_files.WEIGHTS,
        {name: tensor for name, tensor in found.items() if tensor is not None},
        {key: text for key, text in told.items() if text is not None and key != "sha256"},
    )
