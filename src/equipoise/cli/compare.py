"""``equipoise compare``: bilevel learning against deep equilibrium models on one problem."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from equipoise.cli import options
from equipoise.cli.failures import plain_errors
from equipoise.cli.outputs import make_folder
from equipoise.cli.progress import TrainingBars
from equipoise.cli.values import (
    UNLIMITED_STEPS,
    allow_working_folder,
    duration,
    mask_text,
    names,
    one_of,
)
from equipoise.errors import ConvergenceError

if TYPE_CHECKING:
    from equipoise.compare import CompareSettings, Comparison


def compare(
    context: typer.Context,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK",
            help="denoise, inpaint, deblur, tomography; several with commas. "
            "Default: all, which means the first three.",
            rich_help_panel=options.PROBLEM,
        ),
    ] = None,
    data: options.Data = None,
    noise: options.Noise = None,
    mask: options.Mask = None,
    mask_fraction: options.MaskFraction = None,
    kernel: options.Kernel = None,
    angles: options.Angles = None,
    physics: options.Physics = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Any of tikhonov, tv, bilevel, equilibrium, jacobian-free, unrolled, "
            "source-condition. "
            "Default: the first four.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    regularizer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="What every way of learning is applied to: tied-conv, untied-conv, "
            "untied-conv-half, crr, wcrr, fields-of-experts, contractive. "
            "Default: each method's own.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    steps: options.Steps = None,
    time_budget: options.TimeBudget = None,
    pretrain: options.Pretrain = None,
    pretrain_steps: options.PretrainSteps = None,
    batch_size: options.BatchSize = None,
    patch_size: options.PatchSize = None,
    patches: options.Patches = None,
    jacobian_penalty: options.JacobianPenalty = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Training runs per method (seeds K, K + 1, ...), for the spread of training.",
            rich_help_panel=options.LEARNING,
        ),
    ] = 1,
    crop: Annotated[
        int | None,
        typer.Option(
            min=16,
            metavar="PIXELS",
            help=f"Side of the test crops. Default: {options.USUAL['crop']}.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    validation_crop: options.ValidationCrop = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Where report.html and summary.json go.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = Path("results/compare"),
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Train both frameworks on your problem and show which one reconstructs better, and why.

    Writes a page (report.html, opens offline) and all numbers (summary.json), and
    prints the table. Exit code 4 if a test photograph did not converge.
    """
    with plain_errors(debug):
        from equipoise.cli.tasks import compared_tasks
        from equipoise.compare import CompareSettings

        masks = one_of(context, mask=mask, mask_fraction=mask_fraction)
        limits = one_of(context, steps=steps, time_budget=time_budget)
        known = mask_text(**masks)
        seconds = duration(limits["time_budget"])
        given: dict[str, Any] = {
            "tasks": compared_tasks(names(task), known, kernel, physics, angles),
            "data": data,
            "noise": noise,
            "mask": known,
            "kernel": kernel,
            "angles": angles,
            "physics": physics,
            "methods": names(methods),
            "regularizers": names(regularizer),
            "steps": UNLIMITED_STEPS if seconds else limits["steps"],
            "time_budget": seconds,
            "pretrain": pretrain,
            "pretrain_steps": pretrain_steps,
            "batch_size": batch_size,
            "patch_size": patch_size,
            "patches": patches,
            "jacobian_penalty": jacobian_penalty,
            "crop": crop,
            "validation_crop": validation_crop,
            "seed": seed,
            "seeds": seeds,
            "device": device,
        }
        settings = CompareSettings(**{k: v for k, v in given.items() if v is not None})
        _run(settings, out)


def _run(settings: CompareSettings, out: Path) -> None:
    make_folder(out)
    if settings.physics is not None:
        allow_working_folder()
    from equipoise.compare import run_comparison
    from equipoise.report import print_table, write_report, write_summary

    with TrainingBars(settings.time_budget) as bars:
        comparison = run_comparison(settings, observer=bars)
    page, summary = out / "report.html", out / "summary.json"
    write_summary(comparison, summary)
    write_report(comparison, page)
    console = Console()
    print_table(comparison, console)
    console.print(f"Wrote {page} and {summary}.", markup=False, soft_wrap=True)
    _require_convergence(comparison)


def _require_convergence(comparison: Comparison) -> None:
    """Say which runs failed or left a photograph unsolved; the report is written all the same.

    Raises:
        ConvergenceError: if there is one.
    """
    failed = [
        f"{task.task}: {run.summary.label}"
        for task in comparison.tasks
        for run in task.runs
        if run.summary.converged_fraction < 1.0
    ]
    failures = [f"{task.task}: {words}" for task in comparison.tasks for words in task.failures]
    if failures:
        raise ConvergenceError(" ".join(failures))
    if failed:
        raise ConvergenceError(
            f"Not every test photograph converged ({'; '.join(failed)}). The report says which; "
            "train longer, raise --jacobian-penalty, or use a tied or contractive regularizer."
        )
