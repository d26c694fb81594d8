"""Options that several commands share, each defined once.

Names of tasks and the like stand here as text, because help must not import what knows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.config import load_config

PROBLEM = "The problem"
LEARNING = "Learning"
SOLVING = "Solving"
OUTPUT = "Running and output"

#: What settings are without the option; a test holds these to the settings' own defaults.
USUAL = {
    "steps": 80,
    "crop": 256,
    "validation_crop": 128,
    "jacobian_penalty": 0.1,
    "pretrain_steps": 200,
}
#: The same where only training has the option.
USUAL_TRAINING = {"margin_weight": 1e-4}

Task = Annotated[
    str | None,
    typer.Option(
        metavar="denoise|inpaint|deblur|tomography",
        help="The inverse problem. Default: that of the weights, or denoise.",
        rich_help_panel=PROBLEM,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of images to learn from. Default: the embedded photographs.",
        rich_help_panel=PROBLEM,
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="S",
        help="Standard deviation of the noise on images in [0, 1]. Default: the task's own.",
        rich_help_panel=PROBLEM,
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGE",
        help="inpaint: image whose white pixels are known, or rows:0.5 for known rows.",
        rich_help_panel=PROBLEM,
    ),
]
MaskFraction = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="F",
        help="inpaint: share of the pixels that are known, at random places.",
        rich_help_panel=PROBLEM,
    ),
]
Kernel = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGE|NAME:SIZE",
        help="deblur: motion:9, gaussian:1.5, or an image of the kernel.",
        rich_help_panel=PROBLEM,
    ),
]
Angles = Annotated[
    str | None,
    typer.Option(
        metavar="N|N:FROM-TO",
        help="tomography: 30 directions over 0 to 180 degrees, or 60:0-120 for a limited range. "
        "Default: 30.",
        rich_help_panel=PROBLEM,
    ),
]
Physics = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Your own operator instead of a task: a function that returns a deepinv linear "
        "physics. It is checked for adjointness.",
        rich_help_panel=PROBLEM,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help=f"Optimisation steps; a seed then gives the same numbers. Default: {USUAL['steps']}.",
        rich_help_panel=LEARNING,
    ),
]
TimeBudget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Learn for 120s, 2m or 1h instead of a number of steps.",
        rich_help_panel=LEARNING,
    ),
]
Pretrain = Annotated[
    str | None,
    typer.Option(
        metavar="source-condition",
        help="Train by the source condition's loss first, which solves no equation.",
        rich_help_panel=LEARNING,
    ),
]
PretrainSteps = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Steps of --pretrain, on top of the others; of a time budget it takes at most half. "
        f"Default: {USUAL['pretrain_steps']}.",
        rich_help_panel=LEARNING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Patches per step.", rich_help_panel=LEARNING),
]
PatchSize = Annotated[
    int | None,
    typer.Option(
        min=16, metavar="PIXELS", help="Side of a training patch.", rich_help_panel=LEARNING
    ),
]
Patches = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Number of training patches.", rich_help_panel=LEARNING),
]
ValidationCrop = Annotated[
    int | None,
    typer.Option(
        min=16,
        metavar="PIXELS",
        help=f"Side of the validation images' central crops. Default: {USUAL['validation_crop']}.",
        rich_help_panel=LEARNING,
    ),
]
JacobianPenalty = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="W",
        help="Weight of the penalty that keeps an untied field's equilibrium. "
        f"Default: {USUAL['jacobian_penalty']}.",
        rich_help_panel=LEARNING,
    ),
]
Seed = Annotated[
    int,
    typer.Option(min=0, metavar="K", help="Seed of everything random.", rich_help_panel=OUTPUT),
]
Device = Annotated[
    str,
    typer.Option(metavar="auto|cpu|cuda", help="Where to compute.", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace existing outputs.", rich_help_panel=OUTPUT),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.yaml",
        help="YAML file with any of these options (time-budget: 2m); the command line wins.",
        callback=load_config,
        is_eager=True,
        rich_help_panel=OUTPUT,
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show tracebacks of errors.", rich_help_panel=OUTPUT),
]
