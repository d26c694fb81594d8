"""One stopwatch for every method: evaluations, seconds and errors, without asking the method.

Every method has to evaluate the field somewhere; the watch sees each point that it evaluates. The
time that the watch itself takes is not counted, and it ends the method when the limit of seconds
is over or the smallest error wanted is reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.timing import synchronize
from equipoise.equation import Equation


class Stop(Exception):  # noqa: N818  (no error: the method has shown enough)
    """Ends a method from within one of its evaluations."""


@dataclass(frozen=True)
class Point:
    """The state of a method after an evaluation; the error is the best so far."""

    evaluations: int
    seconds: float
    error: float


@dataclass(frozen=True)
class Trajectory:
    """What became of a method.

    Args:
        points: one for each evaluation.
        words: what went wrong where the method itself failed, else empty.
    """

    points: list[Point]
    words: str = ""

    def first(self, level: float) -> Point | None:
        """The first point with an error of at most ``level``; None where it was not reached."""
        return next((point for point in self.points if point.error <= level), None)

    @property
    def last(self) -> Point:
        """Where the method ended."""
        return self.points[-1]


@dataclass
class Watch:
    """Measures one run of one method.

    Args:
        error: relative error of each sample at a point, shape (B,).
        goal: error of the worst sample at which the method is ended.
        limit_s: seconds after which it is ended.
    """

    error: Callable[[Tensor], Tensor]
    goal: float
    limit_s: float
    points: list[Point] = field(default_factory=list)
    _started: float = 0.0
    _own: float = 0.0
    _best: Tensor | None = None

    def start(self) -> None:
        """Begin to count seconds."""
        synchronize()
        self._started = time.perf_counter()

    def saw(self, x: Tensor) -> None:
        """Take note of an evaluation at x that has just been made.

        Raises:
            Stop: if the goal is reached or the time is over.
        """
        synchronize()
        arrived = time.perf_counter()
        seconds = arrived - self._started - self._own
        with torch.no_grad():
            now = self.error(x)
            now = torch.nan_to_num(now, nan=torch.inf)
            self._best = now if self._best is None else torch.minimum(self._best, now)
            worst = float(self._best.max())
        self.points.append(Point(len(self.points) + 1, seconds, worst))
        if worst <= self.goal or seconds > self.limit_s:
            raise Stop
        self._own += time.perf_counter() - arrived


def trajectory(watch: Watch, method: Callable[[], object]) -> Trajectory:
    """Run a method under a watch that its evaluations report to."""
    words = ""
    watch.start()
    try:
        method()
    except Stop:
        pass
    except torch.linalg.LinAlgError as error:
        words = f"{type(error).__name__}: {error}".splitlines()[0]
    if not watch.points:
        raise RuntimeError("The method made no evaluation that the watch could see.")
    return Trajectory(watch.points, words)


@dataclass(frozen=True, eq=False)
class WatchedEquation(Equation):
    """An equation whose evaluations are seen by a watch; samples are never taken out of it."""

    watch: Watch | None = None

    def residual(self, x: Tensor) -> Tensor:
        """``E(x)``."""
        value = super().residual(x)
        self._report(x)
        return value

    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Potential and ``E(x)``."""
        both = super().potential_and_residual(x)
        self._report(x)
        return both

    def select(self, keep: Tensor) -> Equation | None:
        """None: the watch looks at the whole batch."""
        return None

    def _report(self, x: Tensor) -> None:
        if self.watch is not None:
            self.watch.saw(x)
