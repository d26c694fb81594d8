"""Two methods on the same photographs: the paired difference and what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.compare.bootstrap import paired_interval
from equipoise.compare.records import Array, Interval
from equipoise.report.groups import Group

#: Decimals of a dB that are kept: what lies beyond is rounding and must not decide a sign.
_DIGITS = 9

Verdict = Literal["better", "worse", "open", "single"]


@dataclass(frozen=True)
class Difference:
    """PSNR of one method minus that of another, photograph by photograph.

    Args:
        names: photographs that both methods have restored.
        values: difference in dB per photograph (means over the seeds), shape (n,).
        interval: 95 % bootstrap interval of the mean; NaN ends if n = 1.
        by_seed: mean difference for each seed that both methods have.
    """

    names: list[str]
    values: Array
    interval: Interval
    by_seed: Array

    @property
    def mean(self) -> float:
        """Mean difference over the photographs in dB."""
        return float(np.mean(self.values))

    @property
    def n(self) -> int:
        """Number of photographs."""
        return len(self.values)

    @property
    def seeds_disagree(self) -> bool:
        """Whether the mean difference is positive for one seed and negative for another."""
        return bool(np.any(self.by_seed > 0) and np.any(self.by_seed < 0))

    @property
    def verdict(self) -> Verdict:
        """What is shown: an interval that avoids 0, with the same sign for every seed."""
        if self.n == 1:
            return "single"
        if self.interval.low <= 0.0 <= self.interval.high or self.seeds_disagree:
            return "open"
        return "better" if self.mean > 0 else "worse"


def paired_difference(method: Group, reference: Group) -> Difference | None:
    """Compare two methods on the photographs that both have restored.

    Returns:
        The difference; None if no photograph is shared or a PSNR is not finite.
    """
    shared = set(reference.photographs)
    names = [name for name in method.photographs if name in shared]
    if not names:
        return None
    a, b = (group.scores("psnr", names).round(_DIGITS) for group in (method, reference))
    if not np.isfinite(a - b).all():
        return None
    seeds = {run.summary.seed: Group((run,)).scores("psnr", names) for run in reference.runs}
    by_seed = [
        np.mean(Group((run,)).scores("psnr", names) - seeds[run.summary.seed]).round(_DIGITS)
        for run in method.runs
        if run.summary.seed in seeds
    ]
    return Difference(names, (a - b).round(_DIGITS), paired_interval(a, b), np.array(by_seed))
