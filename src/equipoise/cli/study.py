"""``equipoise study``: numerical experiments on what theory says of the equilibrium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from equipoise.cli import options
from equipoise.cli.failures import plain_errors
from equipoise.cli.outputs import make_folder, refuse_existing
from equipoise.cli.values import (
    allow_working_folder,
    is_typed,
    mask_text,
    names,
    one_of,
    typed_command,
)
from equipoise.errors import ConvergenceError, UsageError

if TYPE_CHECKING:
    from equipoise.study import StudyRecord

#: What the task of ``--weights`` or ``--task`` may be told further.
_OF_TASK = ("mask", "mask_fraction", "kernel", "angles")


def study(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="stability, convergence, rates, lower-bound or alpha.",
            show_default=False,
        ),
    ],
    physics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Any of inpaint, blur, sparse-view, limited-angle; or MODULE:FUNCTION, your own. "
            "Default: all four; with --weights or --task its own.",
            rich_help_panel=options.PROBLEM,
        ),
    ] = None,
    regularizer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Any of tikhonov, crr, contractive, network (built in), weights. "
            "Default: those of the study; with --weights that one.",
            rich_help_panel=options.PROBLEM,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="What 'equipoise train' wrote: your R, and the problem it was trained for.",
            rich_help_panel=options.PROBLEM,
        ),
    ] = None,
    task: options.Task = None,
    data: options.Data = None,
    mask: options.Mask = None,
    mask_fraction: options.MaskFraction = None,
    kernel: options.Kernel = None,
    angles: options.Angles = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=8,
            metavar="PIXELS",
            help="Side of the images. Default: 32. Up to 48 tomographs are decomposed exactly.",
            rich_help_panel=options.SOLVING,
        ),
    ] = None,
    noise_levels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Norms of the noise relative to the data, for example 0.1,0.01,0.001. "
            "Default: those of the study.",
            rich_help_panel=options.SOLVING,
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Noise draws (or restarts) of each image. Default: 3.",
            rich_help_panel=options.SOLVING,
        ),
    ] = None,
    max_evaluations: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Limit of evaluations of the equation in each solve.",
            rich_help_panel=options.SOLVING,
        ),
    ] = None,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where results go. Default: results/study/STUDY.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Run the experiments of a convergence analysis, on built-in models or on yours.

    stability: worst perturbations of the data against the certified constant.
    convergence: noise to 0, rules for alpha that meet the hypotheses or violate them.
    rates: measured exponents and proved bounds. lower-bound: the error floor.
    alpha: a priori, discrepancy principle and learned alpha against the best one.

    Writes report.html, summary.json, and a figure of each case (PNG and SVG).

    Exit code 4 if solves failed although R is proved to be monotone; where it is not,
    failing is a finding.
    """
    with plain_errors(debug):
        masks = one_of(context, mask=mask, mask_fraction=mask_fraction)
        folder = out or Path("results") / "study" / name
        places = names(physics)
        if any(":" in place for place in places or ()):
            allow_working_folder()
        given: dict[str, Any] = {
            "physics": places,
            "regularizers": names(regularizer),
            "weights": None if weights is None else str(weights),
            "task": _task(context, weights, task, mask_text(**masks), kernel, angles, places),
            "data": data,
            "size": size,
            "noise_levels": _levels(noise_levels),
            "repeats": repeats,
            "max_evaluations": max_evaluations,
            "seed": seed,
        }

        from equipoise.errors import UnknownNameError
        from equipoise.study import STUDIES, StudySettings

        if name not in STUDIES:
            raise UnknownNameError("study", name, STUDIES)
        settings = StudySettings(**{k: v for k, v in given.items() if v is not None})
        refuse_existing([folder / "report.html", folder / "summary.json"], overwrite)
        make_folder(folder)
        _run(name, settings, folder, typed_command(context))


def _run(name: str, settings: Any, folder: Path, command: str) -> None:
    from equipoise.cli.study_bar import StudyBar
    from equipoise.report.study_figures import save_case_figures
    from equipoise.report.study_page import write_study_page
    from equipoise.report.study_terminal import print_study
    from equipoise.strict_json import write_json
    from equipoise.study import run_study

    with StudyBar() as bar:
        record = run_study(name, settings, observer=bar)
    write_json(record.record(), folder / "summary.json")
    for case in record.cases:
        if case.panels:
            save_case_figures(case, folder / _file_name(f"{case.physics}-{case.regularizer}"))
    write_study_page(record, folder / "report.html", command=command)
    console = Console()
    print_study(record, console)
    console.print(
        f"Wrote report.html, summary.json and figures to {folder} ({record.seconds:.0f} s).",
        markup=False,
        soft_wrap=True,
    )
    _require_convergence(record)


def _require_convergence(record: StudyRecord) -> None:
    failed = [case for case in record.cases if case.unsolved and case.monotone]
    if failed:
        words = "; ".join(
            f"{case.physics}, {case.regularizer}: {case.unsolved} of {case.solves}"
            for case in failed
        )
        raise ConvergenceError(
            f"Solves that should converge did not ({words}). The results say which points they "
            "are; allow more with --max-evaluations, or use a smaller --size."
        )


def _task(
    context: typer.Context,
    weights: Path | None,
    task: str | None,
    mask: str | None,
    kernel: str | None,
    angles: str | None,
    places: tuple[str, ...] | None,
) -> dict[str, Any] | None:
    """Arguments of the problem ``own``, or None where neither weights nor a task name one.

    Weights that were trained for a user's operator name none: ``--physics`` must.

    Raises:
        UsageError: if options of a task come without a task.
    """
    if weights is None and task is None:
        idle = [f"--{o.replace('_', '-')}" for o in _OF_TASK if is_typed(context, o)]
        if idle:
            raise UsageError(f"{' and '.join(idle)} belong to --task or --weights; give one.")
        return None
    from equipoise.cli.tasks import TaskOptions, choose_task
    from equipoise.regularizers import load_regularizer
    from equipoise.study.settings import OWN

    record = {} if weights is None else load_regularizer(weights)[1]
    usual = TaskOptions.from_record(record)
    users = task is None and usual is not None and usual.physics is not None
    if users and places is not None and OWN not in places:
        return None
    chosen = choose_task(
        usual, task=task, noise=None, mask=mask, kernel=kernel, physics=None, angles=angles
    )
    return chosen.arguments()


def _levels(given: list[str] | None) -> tuple[float, ...] | None:
    """Numbers of ``["0.1,0.01"]``.

    Raises:
        UsageError: if one is no number.
    """
    texts = names(given)
    if texts is None:
        return None
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise UsageError(
            f"--noise-levels takes numbers, for example 0.1,0.01; got {', '.join(texts)}."
        ) from None


def _file_name(text: str) -> str:
    """A case's name with only letters, digits, points and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
