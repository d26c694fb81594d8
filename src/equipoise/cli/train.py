"""``equipoise train``: learn one regulariser and write one weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from equipoise.cli import options
from equipoise.cli.failures import plain_errors
from equipoise.cli.outputs import make_folder, refuse_existing
from equipoise.cli.values import (
    UNLIMITED_STEPS,
    allow_working_folder,
    arguments,
    duration,
    mask_text,
    one_of,
)
from equipoise.errors import UsageError

_SUFFIX = ".safetensors"


def train(
    context: typer.Context,
    regularizer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="tied-conv, untied-conv, crr, wcrr, fields-of-experts, contractive, ...",
            rich_help_panel=options.LEARNING,
        ),
    ] = "tied-conv",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Argument of the regularizer, for example filters=32; may be repeated.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="bilevel, equilibrium, jacobian-free, unrolled or source-condition. "
            "Default: bilevel for gradient fields, otherwise equilibrium.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    task: options.Task = None,
    data: options.Data = None,
    noise: options.Noise = None,
    mask: options.Mask = None,
    mask_fraction: options.MaskFraction = None,
    kernel: options.Kernel = None,
    angles: options.Angles = None,
    physics: options.Physics = None,
    steps: options.Steps = None,
    time_budget: options.TimeBudget = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="mse|l1|huber|ssim",
            help="What is minimised over the training images. Default: mse.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Of Adam at the start. Default: what suits the regularizer.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    pretrain: options.Pretrain = None,
    pretrain_steps: options.PretrainSteps = None,
    source_beta: Annotated[
        float | None,
        typer.Option(
            metavar="BETA",
            help="beta of the source condition's loss. Default: the square of the noise.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    margin_weight: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            help="Weight of the margin in the source condition's loss. "
            f"Default: {options.USUAL_TRAINING['margin_weight']}.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    jacobian_penalty: options.JacobianPenalty = None,
    batch_size: options.BatchSize = None,
    patch_size: options.PatchSize = None,
    patches: options.Patches = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            help="Turn patches at every visit by flips and rotations that commute with the "
            "measurements. Default: no-augment.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    validation_crop: options.ValidationCrop = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.safetensors",
            help="The weights file; while learning, a checkpoint lies next to it.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = Path("weights.safetensors"),
    overwrite: options.Overwrite = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Learn one regulariser and write it to one file, with how it came about.

    A checkpoint is written next to the file every two minutes; the same command
    goes on from it.
    """
    with plain_errors(debug):
        if out.suffix != _SUFFIX:
            raise UsageError(f"Weights files end in {_SUFFIX}, got --out {out}.")
        refuse_existing([out], overwrite)
        make_folder(out.parent)
        if physics is not None:
            allow_working_folder()
        masks = one_of(context, mask=mask, mask_fraction=mask_fraction)
        limits = one_of(context, steps=steps, time_budget=time_budget)
        seconds = duration(limits["time_budget"])

        from equipoise.cli.learning import VALIDATION_CROP, LearningJob, learn_and_save
        from equipoise.cli.tasks import choose_task

        choice = choose_task(
            None,
            task=task,
            noise=noise,
            mask=mask_text(**masks),
            kernel=kernel,
            physics=physics,
            angles=angles,
        )
        given: dict[str, Any] = {
            "mode": mode,
            "steps": UNLIMITED_STEPS if seconds else limits["steps"],
            "time_budget": seconds,
            "seed": seed,
            "loss": loss,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "patch_size": patch_size,
            "patches": patches,
            "augment": augment,
            "jacobian_penalty": jacobian_penalty,
            "pretrain": pretrain,
            "pretrain_steps": pretrain_steps,
            "source_beta": source_beta,
            "margin_weight": margin_weight,
        }
        learn_and_save(
            LearningJob(
                regularizer=regularizer,
                arguments=arguments(set_),
                task=choice.scaled_for(validation_crop or VALIDATION_CROP),
                data=data,
                settings={key: value for key, value in given.items() if value is not None},
                validation_crop=validation_crop or VALIDATION_CROP,
                device=device,
                out=out,
            ),
            Console(),
        )
