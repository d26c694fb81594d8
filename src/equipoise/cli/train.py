"""``equipoise train``: learn one regulariser and write one weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import make_folder, refuse_existing
from equipoise.cli.values import arguments, limited
from equipoise.errors import UsageError
from equipoise.settings.setting import LEARNING, OUTPUT, Data, Device, ValidationCrop
from equipoise.settings.task import Task
from equipoise.settings.training import LearningSettings, TrainSettings

_SUFFIX = ".safetensors"


def train(
    context: typer.Context,
    *,
    regularizer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="tied-conv, untied-conv, crr, wcrr, fields-of-experts, contractive, ...",
            rich_help_panel=LEARNING,
        ),
    ] = "tied-conv",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Argument of the regularizer, for example filters=32; may be repeated.",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    problem: Annotated[Given, OptionsOf(Task)],
    data: Data = None,
    shared: Annotated[Given, OptionsOf(LearningSettings)],
    own: Annotated[Given, OptionsOf(TrainSettings, without=tuple(LearningSettings.model_fields))],
    validation_crop: ValidationCrop = 128,
    device: Device = "auto",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.safetensors",
            help="The weights file; while learning, a checkpoint lies next to it.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("weights.safetensors"),
    overwrite: Overwrite = False,
) -> None:
    """Learn one regulariser and write it to one file, with how it came about.

    A checkpoint is written next to the file every two minutes; the same command
    goes on from it.
    """
    if out.suffix != _SUFFIX:
        raise UsageError(f"Weights files end in {_SUFFIX}, got --out {out}.")
    refuse_existing([out], overwrite)
    make_folder(out.parent)

    from equipoise.cli.learning import LearningJob, learn_and_save
    from equipoise.cli.tasks import choose_task

    job = LearningJob(
        regularizer=regularizer,
        arguments=arguments(set_),
        task=choose_task(None, problem).scaled_for(validation_crop),
        data=data,
        settings=limited({**shared, **own}),
        validation_crop=validation_crop,
        device=device,
        out=out,
    )
    learn_and_save(job, Console())
