"""``equipoise compare``: bilevel learning against deep equilibrium models on one problem."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import Rescue, reserved
from equipoise.cli.progress import TrainingBars
from equipoise.cli.unfinished import Unfinished
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
    overwrite: Overwrite = False,
) -> None:
    """Train both frameworks on your problem and show which one reconstructs better, and why.

    Writes a page (report.html, opens offline) and all numbers (summary.json), and
    prints the table. A run that was interrupted lies in 'unfinished' there; the same
    command goes on from it. Exit code 4 if a test photograph did not converge.
    """
    from equipoise.cli.tasks import compared_tasks

    tasks = compared_tasks(names(task), problem)
    settings = CompareSettings(tasks=tasks, **limited(given))
    command = typed_command(context)
    page, summary = out / "report.html", out / "summary.json"
    unfinished = Unfinished(out / "unfinished", settings.model_dump(mode="json"), command)
    with (
        reserved([page, summary], folder=out, overwrite=overwrite),
        unfinished.kept(overwrite),
    ):
        comparison = _run(settings, unfinished.folder, command)

        from equipoise.report import print_table, write_report, write_summary

        console = Console()
        print_table(comparison, console)
        rescue = Rescue()
        rescue.write(summary, lambda path: write_summary(comparison, path))
        rescue.write(page, lambda path: write_report(comparison, path))
        rescue.finish()
        console.print(f"Wrote {page} and {summary}.", markup=False, soft_wrap=True)
    _require_convergence(comparison)


def _run(settings: CompareSettings, checkpoints: Path, command: str) -> Comparison:
    from equipoise.compare import run_comparison
    from equipoise.compare.methods import specs

    methods = specs(settings.methods, settings.regularizers)
    learned = sum(method.mode is not None for method in methods)
    runs = len(settings.tasks) * (len(methods) + learned * (settings.seeds - 1))
    with TrainingBars(settings.time_budget, runs) as bars:
        return run_comparison(settings, observer=bars, command=command, checkpoints=checkpoints)


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
