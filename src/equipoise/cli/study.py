"""``equipoise study``: numerical experiments on what theory says of the equilibrium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import make_folder, refuse_existing
from equipoise.cli.values import allow_working_folder, typed_command
from equipoise.errors import ConvergenceError, UnknownNameError, UsageError
from equipoise.settings.setting import OUTPUT, flag
from equipoise.settings.task import Task
from equipoise.study.settings import OWN, StudySettings

if TYPE_CHECKING:
    from equipoise.study import StudyRecord


def study(
    context: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="stability, convergence, rates, lower-bound or alpha.",
            show_default=False,
        ),
    ],
    given: Annotated[Given, OptionsOf(StudySettings)],
    problem: Annotated[Given, OptionsOf(Task, without=("noise", "physics"))],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where results go. Default: results/study/STUDY.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
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
    from equipoise.study import STUDIES

    folder = out or Path("results") / "study" / name
    if any(":" in place for place in given.get("physics", ())):
        allow_working_folder()
    task = _task(context, given, problem)
    if name not in STUDIES:
        raise UnknownNameError("study", name, STUDIES)
    settings = StudySettings(task=task, **given)
    refuse_existing([folder / "report.html", folder / "summary.json"], overwrite)
    make_folder(folder)
    _run(name, settings, folder, typed_command(context))


def _run(name: str, settings: StudySettings, folder: Path, command: str) -> None:
    from equipoise.cli.progress import StudyBar
    from equipoise.files import atomic_write
    from equipoise.report.figures.cases import save_case_figures
    from equipoise.report.pages import study_page
    from equipoise.report.terminal import print_study
    from equipoise.strict_json import write_json
    from equipoise.study import run_study

    with StudyBar() as bar:
        record = run_study(name, settings, observer=bar)
    write_json(record.record(), folder / "summary.json")
    for case in record.cases:
        if case.panels:
            save_case_figures(case, folder / _file_name(f"{case.physics}-{case.regularizer}"))
    atomic_write(folder / "report.html", study_page(record, command))
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
        words = "; ".join(f"{case.title}: {case.unsolved} of {case.solves}" for case in failed)
        raise ConvergenceError(
            f"Solves that should converge did not ({words}). The results say which points they "
            "are; allow more with --max-evaluations, or use a smaller --size."
        )


def _task(context: typer.Context, given: Given, problem: Given) -> Task | None:
    """The problem ``own``, or None where neither weights nor a task name one.

    Weights that were trained for a user's operator name none: ``--physics`` must.

    Raises:
        UsageError: if options of a task come without a task.
    """
    weights, places = given.get("weights"), given.get("physics")
    if weights is None and "name" not in problem:
        if problem:
            options = [option.name for option in OptionsOf(Task).options()]
            typed = [name for name in options if context.params.get(name) is not None]
            idle = " and ".join(flag(name) for name in typed if name != "physics")
            raise UsageError(f"{idle} belong to --task or --weights; give one.")
        return None
    from equipoise.cli.tasks import choose_task
    from equipoise.problems.records import recorded_task
    from equipoise.regularizers import load_regularizer

    record = {} if weights is None else load_regularizer(weights)[1]
    usual = recorded_task(record)
    users = "name" not in problem and usual is not None and usual.physics is not None
    if users and places is not None and OWN not in places:
        return None
    return choose_task(usual, problem)


def _file_name(text: str) -> str:
    """A case's name with only letters, digits, points and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
