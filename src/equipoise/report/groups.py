"""Runs that differ in the seed alone, read as one method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.compare.bootstrap import bootstrap_interval
from equipoise.compare.records import (
    Array,
    Interval,
    Method,
    RunResult,
    RunSummary,
    TaskResult,
    TrainingCurve,
)

#: Methods whose few parameters are tuned on validation photographs; nothing is trained here.
BASELINES: tuple[Method, ...] = ("tikhonov", "tv", "pretrained")


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
    def filter_count(self) -> int | None:
        """Number of analysis filters; None where there are none."""
        filters = self.runs[0].filters
        return None if filters is None else len(filters)

    @property
    def curves(self) -> list[TrainingCurve]:
        """Training logs of the seeds; none for the baselines."""
        return [run.curve for run in self.runs if run.curve is not None]

    @property
    def photographs(self) -> list[str]:
        """Names of the photographs that every seed has scored, in the first seed's order."""
        shared = set.intersection(*({s.name for s in run.summary.images} for run in self.runs))
        return [score.name for score in self.summary.images if score.name in shared]

    def mean(self, name: str) -> float:
        """Average a number of the summaries, by its name there, over the seeds."""
        return float(np.mean([getattr(run.summary, name) for run in self.runs]))

    def scores(self, name: str, photographs: list[str]) -> Array:
        """Average a number of photographs, by its name in their scores, over the seeds.

        Returns:
            Shape (len(photographs),).
        """
        found = [{s.name: getattr(s, name) for s in run.summary.images} for run in self.runs]
        table = np.array([[row[p] for p in photographs] for row in found], dtype=np.float64)
        return np.mean(table, axis=0)

    def gain(self) -> Array:
        """PSNR of each photograph minus that of its degraded input, in dB."""
        names = self.photographs
        return self.scores("psnr", names) - self.scores("psnr_input", names)

    def interval(self, name: Literal["psnr", "ssim"]) -> Interval:
        """Interval of the mean over photographs; a single seed's stands in its summary."""
        if len(self.runs) == 1:
            found: Interval = getattr(self.summary, f"{name}_interval")
            return found
        return finite_interval(self.scores(name, self.photographs))

    @property
    def defect(self) -> float:
        """Symmetry defect of the learned Jacobian, averaged over the seeds."""
        return self.mean("symmetry_defect")

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
        collected.setdefault(Group((run,)).key, []).append(run)
    return [Group(tuple(runs)) for runs in collected.values()]
