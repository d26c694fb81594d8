"""How many processor threads compute: the fastest number, and no more than other programs leave.

Threads that wait for each other keep a processor busy. Where other programs compute, too, that
costs more than a second thread brings, by a factor (``python -m benchmarks.threads``).
Whoever sets the environment variable ``OMP_NUM_THREADS``, or gives the program ``--threads``,
chooses the number for all work; then a seed gives the same digits, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

#: Who sets it chooses the threads.
CHOSEN = "OMP_NUM_THREADS"
#: Seconds between two looks at what other programs do.
EVERY = 0.5
#: Steps that are timed with each number of threads before one is chosen.
TRIES = 3
#: Where Linux says for how long each processor was busy.
_STATISTICS = Path("/proc/stat")

_limit: ContextVar[int | None] = ContextVar("limit", default=None)


class Room:
    """How many threads there is room for beside other programs.

    Formula: processors less those that others kept busy since the last look, rounded; at least one
    and at most what there is. Where the system does not say (Linux alone does), all.

    Args:
        most: threads of a quiet machine.
    """

    def __init__(self, most: int) -> None:
        self.most = self._left = most
        self._processors = sorted(os.sched_getaffinity(0)) if _STATISTICS.exists() else []
        self._seen = self._reading()

    def left(self) -> int:
        """The present number."""
        now = self._reading()
        passed = now[0] - self._seen[0]
        if self._processors and passed >= EVERY:
            others = max(0.0, (now[1] - self._seen[1]) - (now[2] - self._seen[2])) / passed
            self._left = min(self.most, max(1, round(len(self._processors) - others)))
            self._seen = now
        return self._left

    def _reading(self) -> tuple[float, float, float]:
        """The time, seconds for which our processors were busy, seconds of this process."""
        return time.perf_counter(), _busy_seconds(self._processors), time.process_time()


class Pace:
    """The number of threads with which steps of one kind are fastest: all that there are, or one.

    Small steps are faster with one thread on some machines and slower on others, so both are tried.
    """

    def __init__(self) -> None:
        self._taken: dict[int, list[float]] = {}

    def choice(self) -> int:
        """With how many threads to take the next step."""
        most = give_way()
        if most == 1 or CHOSEN in os.environ:
            return most
        for count in (most, 1):
            if len(self._taken.get(count, [])) < TRIES:
                return count
        return min((most, 1), key=lambda count: min(self._taken[count]))

    def learn(self, count: int, seconds: float) -> None:
        """Say what a unit of work took with so many threads."""
        self._taken.setdefault(count, []).append(seconds)


@dataclass
class _Manners:
    """Whether to give way to other programs, and how much room they leave."""

    wanted: bool = False
    room: Room | None = None


_manners = _Manners()


def leave_room() -> None:
    """From now on use no more threads than other programs leave, unless the number was chosen."""
    _manners.wanted, _manners.room = CHOSEN not in os.environ, None


def give_way() -> int:
    """Use as many threads as there is room for, where that is wanted; return the number."""
    import torch  # here, because leave_room is called by programs that may not need it

    before = torch.get_num_threads()
    if not _manners.wanted or CHOSEN in os.environ:
        return before
    if _manners.room is None:
        _manners.room = Room(before)
    limit, left = _limit.get(), _manners.room.left()
    count = left if limit is None else min(limit, left)
    if count != before:
        torch.set_num_threads(count)
    return count


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Compute with so many threads, or fewer where there is no room for them."""
    import torch

    before, token = torch.get_num_threads(), _limit.set(count)
    torch.set_num_threads(count)
    try:
        yield
    finally:
        _limit.reset(token)
        torch.set_num_threads(before)


def threads_in_words() -> str:
    """How many threads compute, for records."""
    import torch

    count = torch.get_num_threads() if _manners.room is None else _manners.room.most
    chosen = CHOSEN in os.environ or count == 1
    return str(count) if chosen else f"{count}, fewer where that is faster"


def choose_threads(count: int) -> None:
    """Compute with so many threads from now on, whatever the work, in processes begun here too."""
    import torch

    os.environ[CHOSEN] = str(count)
    torch.set_num_threads(count)


def _busy_seconds(processors: list[int]) -> float:
    """For how long these processors have been busy, with whatever program, in seconds."""
    wanted = {f"cpu{number}" for number in processors}
    ticks = 0
    if wanted:
        for line in _STATISTICS.read_text(encoding="ascii").splitlines():
            name, *numbers = line.split()
            if name in wanted:
                user, nice, system, _idle, _waiting, *rest = map(int, numbers[:8])
                ticks += user + nice + system + sum(rest)
    return ticks / os.sysconf("SC_CLK_TCK")
