"""How far a command is: bars on a terminal, lines with the time to go everywhere else."""

from __future__ import annotations

import threading
import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

#: Seconds between two lines.
EVERY = 15.0


def display(console: Console | None = None, every: float = EVERY) -> Display:
    """What suits standard error, or another console.

    Args:
        console: where to show it.
        every: seconds between two lines where it is no terminal.
    """
    console = console or Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console, every)


class Display:
    """Shows one phase after the other; a context manager."""

    def begin(self, what: str, total: float | None = None, unit: str = "") -> None:
        """Begin a phase.

        Args:
            what: what is done in it.
            total: how much, if it is known.
            unit: what is counted.
        """

    def update(self, done: float, facts: str = "", *, landmark: bool = False) -> None:
        """Say how much is done, and what came out so far.

        Args:
            done: of the total.
            facts: a few words.
            landmark: whether it is worth a line of its own.
        """

    def end(self, facts: str = "") -> None:
        """End the phase, with what came out of it."""

    def say(self, words: str) -> None:
        """Print a sentence of its own."""

    def open(self) -> None:
        """Take the place on the screen."""

    def close(self) -> None:
        """Leave it."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bars(Display):
    """One bar for each phase, with the time to go and in the end the time that it took."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=_one_line()),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[facts]}", markup=False, table_column=_one_line()),
            _Time(elapsed_when_finished=True, table_column=Column(no_wrap=True, min_width=7)),
            console=console,
        )
        self._current: TaskID | None = None

    def say(self, words: str) -> None:
        self._bars.console.print(words, markup=False, soft_wrap=True)

    def open(self) -> None:
        self._bars.start()

    def close(self) -> None:
        self._bars.stop()

    def begin(self, what: str, total: float | None = None, unit: str = "") -> None:
        self._current = self._bars.add_task(what, total=total, facts="")

    def update(self, done: float, facts: str = "", *, landmark: bool = False) -> None:
        if self._current is not None:
            self._bars.update(self._current, completed=done, facts=facts)

    def end(self, facts: str = "") -> None:
        if self._current is not None:
            total = self._bars.tasks[self._current].total or 1
            self._bars.update(self._current, total=total, completed=total, facts=facts)
            self._current = None


class Lines(Display):
    """A line at the beginning and at the end of each phase, and every few seconds in between.

    Args:
        console: where to print.
        every: seconds between two lines within a phase; a thread prints them, so that they come
            in long computations, too.
    """

    def __init__(self, console: Console, every: float = EVERY) -> None:
        self._console, self._every = console, every
        self._what, self._unit, self._facts = "", "", ""
        self._total: float | None = None
        self._done = self._began = 0.0
        self._first: tuple[float, float] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def say(self, words: str) -> None:
        self._print(words)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        if self._what:  # it was not ended
            self._print(self._state())

    def begin(self, what: str, total: float | None = None, unit: str = "") -> None:
        self._what, self._total, self._unit, self._facts = what, total, unit, ""
        self._done, self._began, self._first = 0.0, time.monotonic(), None
        self._print(f"{what}: begins")

    def update(self, done: float, facts: str = "", *, landmark: bool = False) -> None:
        if self._first is None:  # a run that goes on from a checkpoint does not begin at 0
            self._first = time.monotonic(), done
        self._done, self._facts = done, facts
        if landmark:
            self._print(self._state())

    def end(self, facts: str = "") -> None:
        what, self._what = self._what, ""
        words = f"; {facts}" if facts else ""
        self._print(f"{what}: done in {words_of(time.monotonic() - self._began)}{words}")

    def _repeat(self) -> None:
        while not self._closed.wait(self._every):
            if self._what:
                self._print(self._state())

    def _state(self) -> str:
        now = time.monotonic()
        parts = [f"{words_of(now - self._began)} so far"]
        if self._total:
            parts.insert(0, f"{self._done:.0f} of {self._total:.0f} {self._unit}".rstrip())
            since, before = self._first or (now, 0.0)
            if self._done > before and now > since:
                left = (self._total - self._done) * (now - since) / (self._done - before)
                parts.append(f"about {words_of(max(left, 0.0))} to go")
        words = f"; {self._facts}" if self._facts else ""
        return f"{self._what}: {', '.join(parts)}{words}"

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def words_of(seconds: float) -> str:
    """A duration in words: ``8 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class _Time(TimeRemainingColumn):
    """The time to go, or where it cannot be known the time so far."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total is not None else TimeElapsedColumn().render(task)


def _one_line() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")
