"""Wall-clock times: medians over repeats, taken by turns where they are to be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.machine import device


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, fastest and slowest of so many repeats."""

    median: float
    low: float
    high: float
    repeats: int


def measure(
    function: Callable[[], Any], *, repeats: int, warmup: int = 1, limit_s: float | None = None
) -> Timing:
    """Time a function.

    Args:
        function: called without arguments; its result is dropped.
        repeats: timed calls, at least 1.
        warmup: calls before them that are not timed.
        limit_s: seconds after which no further timed call is begun.
    """
    return compare({"": function}, repeats=repeats, warmup=warmup, limit_s=limit_s)[""]


def compare(
    functions: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    warmup: int = 1,
    limit_s: float | None = None,
    burst: int = 1,
) -> dict[str, Timing]:
    """Time functions by turns, so that a machine that gets slower does so for all of them.

    Args:
        functions: name -> function without arguments.
        repeats: turns, at least 1.
        warmup: calls of each before them that are not timed.
        limit_s: seconds after which no further turn is begun.
        burst: calls of each in a turn, all timed; with three or more the median belongs to a call
            that followed one of the same function, as in an iteration.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}.")
    for function in functions.values():
        for _ in range(warmup):
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    began = time.perf_counter()
    for turn in range(repeats):
        if turn and limit_s is not None and time.perf_counter() - began > limit_s:
            break
        for name, function in functions.items():
            seconds[name] += [once(function) for _ in range(burst)]
    return {name: summary(values) for name, values in seconds.items()}


def once(function: Callable[[], Any]) -> float:
    """Seconds of one call, work that an accelerator still has to do included."""
    synchronize()
    started = time.perf_counter()
    function()
    synchronize()
    return time.perf_counter() - started


def summary(seconds: list[float]) -> Timing:
    """Median and extremes of the seconds of some calls."""
    return Timing(statistics.median(seconds), min(seconds), max(seconds), len(seconds))


def synchronize() -> None:
    """Wait until an accelerator has finished; nothing to do on a CPU."""
    if device().type == "cuda":
        torch.cuda.synchronize()
