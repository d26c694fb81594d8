"""Runs that differ in the seed alone, read as one method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from equipoise.compare.bootstrap import bootstrap_interval
from equipoise.compare.records import (
    Array,
    ImageScore,
    Interval,
    Method,
    RunResult,
    RunSummary,
    TaskResult,
)

#: Methods whose few parameters are tuned on validation photographs, not trained.
BASELINES: tuple[Method, ...] = ("tikhonov", "tv")


@dataclass(frozen=True)
class Group:
    """One method on one task with all its seeds.

    Args:
        runs: at least one run; they share method, regulariser and label.
    """

    runs: tuple[RunResult, ...]

    @property
    def summary(self) -> RunSummary:
        """The numbers of the first seed."""
        return self.runs[0].summary

    @property
    def label(self) -> str:
        """What a reader calls the method."""
        return self.summary.label

    @property
    def key(self) -> tuple[str, str, str]:
        """Identify the method across tasks."""
        return self.summary.method, self.summary.regularizer, self.summary.label

    @property
    def trained(self) -> bool:
        """Whether the method was trained (the baselines are only tuned)."""
        return self.summary.method not in BASELINES

    @property
    def seeds(self) -> list[int]:
        """Seeds in the order of the runs."""
        return [run.summary.seed for run in self.runs]

    @property
    def filter_count(self) -> int | None:
        """Number of analysis filters; None where there are none."""
        filters = self.runs[0].filters
        return None if filters is None else len(filters)

    @property
    def photographs(self) -> list[str]:
        """Names of the photographs that every seed has scored, in the first seed's order."""
        shared = set.intersection(*({s.name for s in run.summary.images} for run in self.runs))
        return [score.name for score in self.summary.images if score.name in shared]

    def mean(self, number: Callable[[RunSummary], float]) -> float:
        """Average a number of the summaries over the seeds."""
        return float(np.mean([number(run.summary) for run in self.runs]))

    def scores(self, number: Callable[[ImageScore], float], names: list[str]) -> Array:
        """Average a number of each named photograph over the seeds, shape (len(names),)."""
        table = []
        for run in self.runs:
            by_name = {score.name: number(score) for score in run.summary.images}
            table.append([by_name[name] for name in names])
        return np.mean(np.array(table, dtype=np.float64).reshape(len(self.runs), -1), axis=0)

    def psnr(self, names: list[str]) -> Array:
        """PSNR of each named photograph in dB, averaged over the seeds."""
        return self.scores(lambda score: score.psnr, names)

    def gain(self) -> Array:
        """PSNR of each photograph minus that of its degraded input, in dB."""
        return self.scores(lambda score: score.psnr - score.psnr_input, self.photographs)

    @property
    def psnr_interval(self) -> Interval:
        """Interval of the mean PSNR over photographs; a single seed's stands in its summary."""
        if len(self.runs) == 1:
            return self.summary.psnr_interval
        return finite_interval(self.psnr(self.photographs))

    @property
    def ssim_interval(self) -> Interval:
        """Interval of the mean SSIM over photographs; a single seed's stands in its summary."""
        if len(self.runs) == 1:
            return self.summary.ssim_interval
        return finite_interval(self.scores(lambda score: score.ssim, self.photographs))

    @property
    def defect(self) -> float:
        """Symmetry defect of the learned Jacobian, averaged over the seeds."""
        return self.mean(lambda summary: summary.symmetry_defect)

    @property
    def defect_error(self) -> float:
        """Standard error of :attr:`defect` that stems from the random probes."""
        squares = sum(run.summary.symmetry_defect_error**2 for run in self.runs)
        return float(np.sqrt(squares) / len(self.runs))


def finite_interval(values: Array) -> Interval:
    """Bootstrap interval, or NaN ends where there is no value or one is not finite."""
    if len(values) == 0 or not np.isfinite(values).all():
        return Interval(low=float("nan"), high=float("nan"))
    return bootstrap_interval(values)


def group_runs(task: TaskResult) -> list[Group]:
    """Collect the runs of one method over its seeds, in the order in which they first appear."""
    collected: dict[tuple[str, str, str], list[RunResult]] = {}
    for run in task.runs:
        key = run.summary.method, run.summary.regularizer, run.summary.label
        collected.setdefault(key, []).append(run)
    return [Group(tuple(runs)) for runs in collected.values()]
