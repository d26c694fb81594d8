"""Progress bars on standard error: how far, loss, PSNR, and what the solvers spend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

if TYPE_CHECKING:
    from equipoise.compare.records import RunSummary
    from equipoise.learn import Progress as LearningProgress
    from equipoise.study import CaseRecord


class _Bars:
    """Bars that are drawn while the context lasts.

    Args:
        columns: what each bar shows.
        console: where to draw; by default standard error.
    """

    def __init__(self, *columns: ProgressColumn, console: Console | None = None) -> None:
        self._bars = Progress(*columns, console=console or Console(stderr=True))

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class StudyBar(_Bars):
    """A bar that counts the cases of a study; a context manager."""

    def __init__(self) -> None:
        words = TextColumn("{task.description}", markup=False)
        super().__init__(words, BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
        self._task = self._bars.add_task("Preparing", total=None)

    def started(self, label: str, total: int) -> None:
        """Name the case that begins."""
        self._bars.update(self._task, description=label, total=total)

    def finished(self, record: CaseRecord) -> None:
        """Count a case that ended."""
        self._bars.advance(self._task)


class TrainingBars(_Bars):
    """Bars, one per training run; a context manager.

    Args:
        budget: seconds of training where time limits it, otherwise None and steps count.
        console: where to draw; by default standard error.
    """

    def __init__(self, budget: float | None = None, console: Console | None = None) -> None:
        self._budget = budget
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=_one_line()),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[facts]}", markup=False, table_column=_one_line()),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            console=console,
        )
        self._current: TaskID | None = None

    def started(self, task: str, label: str, steps: int) -> None:
        """Open the bar of one run."""
        total = self._budget or steps
        self._current = self._bars.add_task(f"{task}: {label}", total=total or None, facts="")

    def advanced(self, progress: LearningProgress) -> None:
        """Show one step."""
        if self._current is not None:
            done = progress.seconds if self._budget else progress.step
            self._bars.update(self._current, completed=done, facts=facts_of(progress))

    def finished(self, summary: RunSummary) -> None:
        """Close the bar of one run with what came out of it."""
        if self._current is not None:
            total = self._bars.tasks[self._current].total or 1
            facts = f"PSNR {summary.psnr_input:.2f} to {summary.psnr_mean:.2f} dB"
            self._bars.update(self._current, total=total, completed=total, facts=facts)
            self._current = None


def facts_of(progress: LearningProgress) -> str:
    """Loss, validation PSNR, forward and adjoint evaluations in one line."""
    report = progress.report
    psnr = f"{progress.psnr:.2f}" if math.isfinite(progress.psnr) else "-"
    return (
        f"loss {report.loss:.1e} PSNR {psnr} "
        f"evals {report.forward_evaluations:.0f}+{report.adjoint_products:.0f}"
    )


def _one_line() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")
