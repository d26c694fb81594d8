"""When a training run is saved: now and then, before a signal ends it, and in the end."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from equipoise.errors import OutputError, OutputWarning
from equipoise.learn.checkpoint import Checkpoint, write_checkpoint

#: Seconds after which a run is saved for the first time.
FIRST = 10.0
#: What asks a process to end, Ctrl-C among them.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Saving:
    """Writes the checkpoints of one run; a context manager around its steps.

    A signal that asks the process to end waits for the end of the step, is followed by a
    checkpoint, and then has the effect that it would have had; a second one has it at once. That
    holds in the main thread; others are told of no signals.

    A checkpoint that cannot be written is warned of once, and the run goes on.

    Args:
        path: the checkpoint; None saves nothing and leaves signals alone.
        seconds: time between two checkpoints; the first comes after :data:`FIRST` at the latest.
        snapshot: the state between two steps.
    """

    def __init__(
        self, path: Path | None, seconds: float, snapshot: Callable[[], Checkpoint]
    ) -> None:
        self._path, self._seconds, self._snapshot = path, seconds, snapshot
        self._due = time.perf_counter() + min(FIRST, seconds)
        self._asked: int | None = None
        self._warned = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Saving:
        if self._path is not None and threading.current_thread() is threading.main_thread():
            self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def after_step(self) -> None:
        """Save if it is time, or if a signal came, which then takes effect."""
        if self._path is None:
            return
        if self._asked is not None or time.perf_counter() > self._due:
            self.save()
            self._due = time.perf_counter() + self._seconds
        if self._asked is not None:
            number, self._asked = self._asked, None
            self._give_back()
            signal.raise_signal(number)
            self._take()  # whoever got it lets the run go on

    def save(self) -> None:
        """Write a checkpoint, as far as that is possible."""
        if self._path is None:
            return
        try:
            write_checkpoint(self._path, self._snapshot())
        except OutputError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"The training goes on without a new checkpoint. {error}",
                    OutputWarning,
                    stacklevel=3,
                )

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            self._give_back()
            signal.raise_signal(number)
        self._asked = number

    def _take(self) -> None:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):  # None: set by others than Python
                self._handlers[number] = handler
                signal.signal(number, self._note)

    def _give_back(self) -> None:
        """Leave signals to whom they belonged."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
