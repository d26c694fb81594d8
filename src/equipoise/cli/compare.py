"""``equipoise compare``: bilevel learning against deep equilibrium models on one problem."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from equipoise.cli.options import Given, OptionsOf
from equipoise.cli.outputs import make_folder
from equipoise.cli.progress import TrainingBars
from equipoise.cli.values import limited, names, typed_command
from equipoise.compare.settings import CompareSettings
from equipoise.errors import ConvergenceError
from equipoise.settings.setting import OUTPUT, PROBLEM
from equipoise.settings.task import Task

if TYPE_CHECKING:
    from equipoise.compare import Comparison


def compare(
    context: typer.Context,
    *,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK",
            help="denoise, inpaint, deblur, tomography; several with commas. "
            "Default: all, which means the first three.",
            rich_help_panel=PROBLEM,
        ),
    ] = None,
    problem: Annotated[Given, OptionsOf(Task, without=("name",))],
    given: Annotated[Given, OptionsOf(CompareSettings)],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Where report.html and summary.json go.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("results/compare"),
) -> None:
    """Train both frameworks on your problem and show which one reconstructs better, and why.

    Writes a page (report.html, opens offline) and all numbers (summary.json), and
    prints the table. Exit code 4 if a test photograph did not converge.
    """
    from equipoise.cli.tasks import compared_tasks

    tasks = compared_tasks(names(task), problem)
    settings = CompareSettings(tasks=tasks, **limited(given))
    make_folder(out)

    from equipoise.compare import run_comparison
    from equipoise.report import print_table, write_report, write_summary

    with TrainingBars(settings.time_budget) as bars:
        comparison = run_comparison(settings, observer=bars, command=typed_command(context))
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
