"""What the command line's tests share besides fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from typer.testing import Result

from equipoise.problems import denoise
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import load_regularizer

Run = Callable[..., Result]


def pattern(size: int = 24, shift: float = 0.0) -> NDArray[np.float64]:
    """A gray image with edges, values in [0, 1]."""
    y, x = np.mgrid[:size, :size] / size
    return 0.5 + 0.3 * np.sign(np.sin(9 * x + 4 * y + shift)) * (x > 0.3) + 0.1 * y


def save_weights(path: Path, task: str, **options: object) -> Path:
    """Write an untrained tied pair whose record names a task."""
    from equipoise.problems.records import task_record
    from equipoise.regularizers import Scaled, build, save_regularizer
    from equipoise.settings.task import Task

    torch.manual_seed(0)
    regularizer = Scaled(build("tied-conv", filters=2, kernel_size=3), strength=0.1)
    chosen = Task(name=task, noise=0.05, **options)  # type: ignore[arg-type]
    save_regularizer(path, regularizer, {"task": task_record(chosen)})
    return path


def solved(weights: Path, y: torch.Tensor) -> torch.Tensor:
    """The library's answer for denoising one image (C, H, W)."""
    regularizer, _ = load_regularizer(weights)
    model = EquilibriumReconstructor(regularizer, options=SolveOptions(tolerance=2e-4))
    return model.solve(y[None], denoise(tuple(y.shape)).physics).x[0]
