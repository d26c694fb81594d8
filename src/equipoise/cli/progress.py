"""Progress of trainings and studies: how far, loss, PSNR, and what the solvers spend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from rich.console import Console

from equipoise.cli.display import display

if TYPE_CHECKING:
    from equipoise.compare.records import RunSummary
    from equipoise.learn import Progress as LearningProgress
    from equipoise.study import CaseRecord


class _Shown:
    """What is shown while the context lasts.

    Args:
        console: where to show it; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._display = display(console)

    def __enter__(self) -> Self:
        self._display.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.close()


class StudyBar(_Shown):
    """Counts the cases of a study; a context manager.

    Args:
        name: of the study.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name, self._done, self._total = name, 0, 0

    def started(self, label: str, total: int) -> None:
        """Name the case that begins."""
        if not self._total:
            self._display.begin(f"Study {self._name}", total, "cases")
        self._total = total
        self._display.update(self._done, label)

    def finished(self, record: CaseRecord) -> None:
        """Count a case that ended."""
        self._done += 1
        label = f"{record.physics}, {record.regularizer} done"
        self._display.update(self._done, label, landmark=True)
        if self._done == self._total:
            self._display.end()


class TrainingBars(_Shown):
    """One phase per training run; a context manager.

    Args:
        budget: seconds of training where time limits it, otherwise None and steps count.
        runs: how many runs there will be, if there are several.
        console: where to show it; by default standard error.
    """

    def __init__(
        self, budget: float | None = None, runs: int = 1, console: Console | None = None
    ) -> None:
        super().__init__(console)
        self._budget, self._runs, self._count = budget, runs, 0

    def noted(self, words: str) -> None:
        """Say something beside the bars."""
        self._display.say(words)

    def started(self, task: str, label: str, steps: int) -> None:
        """Begin one run; without steps it is no training."""
        self._count += 1
        number = f" ({self._count} of {self._runs})" if self._runs > 1 else ""
        total = (self._budget or steps) if steps else None
        unit = "s of training" if self._budget else "steps"
        self._display.begin(f"{task}: {label}{number}", total, unit)

    def advanced(self, progress: LearningProgress) -> None:
        """Show one step."""
        done = progress.seconds if self._budget else progress.step
        self._display.update(done, facts_of(progress))

    def finished(self, summary: RunSummary) -> None:
        """End one run that was scored."""
        self.ended(f"PSNR {summary.psnr_input:.2f} to {summary.psnr_mean:.2f} dB")

    def ended(self, facts: str) -> None:
        """End one run with what came out of it."""
        self._display.end(facts)


def facts_of(progress: LearningProgress) -> str:
    """Loss, validation PSNR, forward and adjoint evaluations in one line."""
    report = progress.report
    psnr = f"{progress.psnr:.2f}" if math.isfinite(progress.psnr) else "-"
    return (
        f"loss {report.loss:.1e} PSNR {psnr} "
        f"evals {report.forward_evaluations:.0f}+{report.adjoint_products:.0f}"
    )
