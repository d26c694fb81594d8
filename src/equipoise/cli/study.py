"""``equipoise study``: numerical experiments on what theory says of the equilibrium."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import Rescue, reserved
from equipoise.cli.values import allow_working_folder, typed_command
from equipoise.errors import ConvergenceError, UnknownNameError, UsageError
from equipoise.settings.setting import OUTPUT, flag
from equipoise.settings.task import Task
from equipoise.study.settings import OWN, StudySettings

if TYPE_CHECKING:
    from equipoise.study import CaseRecord, StudyRecord


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
    record = _run(name, settings, folder, overwrite, typed_command(context))
    _require_convergence(record)


def _run(
    name: str, settings: StudySettings, folder: Path, overwrite: bool, command: str
) -> StudyRecord:
    from equipoise.cli.progress import StudyBar
    from equipoise.report.terminal import print_study
    from equipoise.study import STUDIES, run_study
    from equipoise.study.cases import chosen_names

    study = STUDIES[name]
    names = chosen_names(settings, study.physics, study.regularizers)
    files = [folder / "report.html", folder / "summary.json"]
    files += [figure for pair in names for figure in _figures(folder, *pair)]
    with reserved(files, folder=folder, overwrite=overwrite):
        with StudyBar(name) as bar:
            record = run_study(name, settings, observer=bar)
        console = Console()
        print_study(record, console)
        _write(record, folder, command)
    said = [f"Wrote report.html, summary.json and figures to {folder} ({record.seconds:.0f} s)."]
    older = sorted(p.name for end in ("png", "svg") for p in folder.glob(f"*.{end}"))
    older = [name for name in older if folder / name not in files]
    if older:
        said.append(f"Not of this run, though in that folder: {', '.join(older)}.")
    console.print(*said, markup=False, soft_wrap=True)
    return record


def _write(record: StudyRecord, folder: Path, command: str) -> None:
    from equipoise.files import atomic_write
    from equipoise.report.pages import study_page
    from equipoise.strict_json import write_json

    rescue = Rescue()
    rescue.write(folder / "summary.json", lambda path: write_json(record.record(), path))
    for case in record.cases:
        if case.panels:
            png, _ = _figures(folder, case.physics, case.regularizer)
            rescue.write(png, partial(_write_figures, case))
    page = folder / "report.html"
    rescue.write(page, lambda path: atomic_write(path, study_page(record, command)))
    rescue.finish()


def _write_figures(case: CaseRecord, png: Path) -> None:
    from equipoise.report.figures.cases import save_case_figures

    save_case_figures(case, png.with_suffix(""))


def _figures(folder: Path, physics: str, regularizer: str) -> list[Path]:
    """Where the figure of a case goes."""
    stem = _file_name(f"{physics}-{regularizer}")
    return [folder / f"{stem}{suffix}" for suffix in (".png", ".svg")]


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
