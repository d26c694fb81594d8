"""What a training run tells: after each step, and in the end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from equipoise.learn.step import StepReport
from equipoise.regularizers.base import Regularizer


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows after each step.

    Args:
        step: steps done.
        steps: steps in all.
        report: what the step measured.
        psnr: latest validation PSNR in dB, NaN before the first.
        seconds: training seconds so far (validation not counted).
    """

    step: int
    steps: int
    report: StepReport
    psnr: float
    seconds: float


@dataclass
class Log:
    """One entry per step, or per validation where the name says so."""

    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    adjoint: list[float] = field(default_factory=list)
    converged: list[float] = field(default_factory=list)
    usable: list[float] = field(default_factory=list)
    validation_step: list[int] = field(default_factory=list)
    validation_psnr: list[float] = field(default_factory=list)
    validation_converged: list[float] = field(default_factory=list)

    def add(self, report: StepReport, seconds: float) -> None:
        """Append one step."""
        self.loss.append(report.loss)
        self.seconds.append(seconds)
        self.forward.append(report.forward_evaluations)
        self.adjoint.append(report.adjoint_products)
        self.converged.append(report.converged)
        self.usable.append(report.usable)


@dataclass(frozen=True)
class TrainingResult:
    """A trained regulariser and how it came about.

    Args:
        regularizer: the field with the chosen weights: the latest under which every validation
            image converged or, with early stopping, those of them with the best PSNR.
        log: what was measured at every step.
        seconds: training time without validation, with the last search of the strength.
        steps: steps taken.
        best_step: step whose weights were chosen.
        best_psnr: their validation PSNR in dB.
        stopped: why training ended, in words.
        pretrain_steps: how many of the steps were pretraining.
        pretrain_seconds: how much of the time was pretraining.
        notes: plain sentences about what was not done as usual.
    """

    regularizer: Regularizer
    log: Log
    seconds: float
    steps: int
    best_step: int
    best_psnr: float
    stopped: str
    pretrain_steps: int = 0
    pretrain_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def mean(self, what: str) -> float:
        """Mean over steps of one of the log's lists, NaN entries left out."""
        values = [v for v in getattr(self.log, what) if math.isfinite(v)]
        return sum(values) / len(values) if values else float("nan")
