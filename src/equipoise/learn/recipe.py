"""From a regulariser's name to trained weights: build, calibrate, train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise.learn.bank import fill_bank, kept_between_visits
from equipoise.learn.calibrate import calibrate
from equipoise.learn.log import Progress, TrainingResult
from equipoise.learn.step import check_mode
from equipoise.learn.trainer import train
from equipoise.learn.validation import make_validation
from equipoise.modes import learning_verb
from equipoise.problems import Problem
from equipoise.regularizers import Scaled, build
from equipoise.settings.training import TrainSettings

#: Offset between the seeds of the training bank and of the validation noise.
VALIDATION_SEED = 7_001


@learning_verb
def learn(
    name: str,
    config: Mapping[str, Any],
    problem: Problem,
    training: list[Tensor],
    held_out: list[Tensor],
    settings: TrainSettings,
    *,
    validation_crop: int = 128,
    tolerance: float = 2e-4,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Build a regulariser of the catalogue inside ``Scaled``, set its strength, train it.

    Args:
        name: name in the catalogue, for example ``"tied-conv"``.
        config: constructor arguments.
        problem: the inverse problem at any image size; gives device and dtype.
        training: training images (C, H, W).
        held_out: validation images (C, H, W).
        settings: mode, steps and the rest.
        validation_crop: side of the validation crops.
        tolerance: relative residual asked of the validation solves.
        checkpoint: file that is written now and then and in the end, and read first if it is
            there.
        on_progress: called after every step.

    Returns:
        The result; its regulariser is a :class:`Scaled` whose alpha is 1.

    Raises:
        UnknownNameError: if the catalogue does not have the name.
        HypothesisError: if the mode does not suit the regulariser.
    """
    torch.manual_seed(settings.seed)
    regularizer = Scaled(build(name, **config)).to(device=problem.device, dtype=problem.dtype)
    check_mode(regularizer, settings)  # before the work of measuring and calibrating
    bank = fill_bank(
        problem,
        training,
        count=settings.patches,
        size=settings.patch_size,
        seed=settings.seed,
        kept=kept_between_visits(settings),
        budget=settings.warm_start_bytes,
    )
    validation = make_validation(
        problem,
        held_out,
        size=validation_crop,
        seed=settings.seed + VALIDATION_SEED,
        tolerance=tolerance,
    )
    if checkpoint is None or not checkpoint.exists():  # otherwise its weights replace these
        calibrate(regularizer, bank)
    return train(
        regularizer, bank, validation, settings, checkpoint=checkpoint, on_progress=on_progress
    )
