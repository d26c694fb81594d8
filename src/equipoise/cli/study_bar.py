"""The progress bar of a study: which case runs, and how many are left."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from equipoise.study import CaseRecord


class StudyBar:
    """A bar on standard error that counts cases; a context manager."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("Preparing", total=None)

    def __enter__(self) -> StudyBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def started(self, label: str, total: int) -> None:
        """Name the case that begins."""
        self._bar.update(self._task, description=label, total=total)

    def finished(self, record: CaseRecord) -> None:
        """Count a case that ended."""
        self._bar.advance(self._task)
