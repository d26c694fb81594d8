"""``equipoise train``: learn one regulariser and write one weights file."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from equipoise.cli.jobs import LearningJob
from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import reserved
from equipoise.cli.values import limited
from equipoise.errors import UsageError
from equipoise.settings.task import Task
from equipoise.settings.training import LearningSettings, TrainSettings

_SUFFIX = ".safetensors"


def train(
    context: typer.Context,
    *,
    job: Annotated[Given, OptionsOf(LearningJob)],
    problem: Annotated[Given, OptionsOf(Task)],
    own: Annotated[Given, OptionsOf(TrainSettings, without=tuple(LearningSettings.model_fields))],
    shared: Annotated[Given, OptionsOf(LearningSettings)],
    overwrite: Overwrite = False,
) -> None:
    """Learn one regulariser and write it to one file, with how it came about.

    A checkpoint is written next to the file after ten seconds, every two minutes, and
    when the program is interrupted (Ctrl-C) or terminated; the same command goes on
    from it.
    """
    out = job.get("out")
    if out is not None and not str(out).endswith(_SUFFIX):
        raise UsageError(f"Weights files end in {_SUFFIX}, got --out {out}.")

    from equipoise.cli.learning import learn_and_save
    from equipoise.cli.tasks import choose_task

    settings = LearningSettings(**limited(shared)).model_dump() | own
    asked = LearningJob(task=choose_task(None, problem), settings=settings, **job)
    with reserved([asked.out], held=[asked.out], beside=[asked.checkpoint], overwrite=overwrite):
        learn_and_save(asked, Console())
