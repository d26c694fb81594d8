"""Small runs that are interrupted and continued."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from learning_problems import (
    small_bank,
    small_field,
    small_validation,
)

from equipoise.learn import Progress, TrainingResult, TrainSettings, train


def stop_at(step: int, reason: BaseException) -> Callable[[Progress], None]:
    def watch(progress: Progress) -> None:
        if progress.step == step:
            raise reason

    return watch


def run(
    settings: TrainSettings,
    field: str = "tied-conv",
    path: Path | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """A run from scratch, or from the checkpoint if there is one."""
    torch.manual_seed(99 if path is None else 98)  # nothing may depend on the global generator
    return train(
        small_field(field),
        small_bank(),
        small_validation(),
        settings,
        checkpoint=path,
        on_progress=watch,
    )


def facts(result: TrainingResult) -> dict[str, Any]:
    """Everything that must agree, that is all but seconds; NaN as None, which equals itself."""
    log = {
        name: [None if math.isnan(value) else value for value in values]
        for name, values in vars(result.log).items()
        if name != "seconds"
    }
    return {**log, "best": (result.best_step, result.best_psnr), "steps": result.steps}
