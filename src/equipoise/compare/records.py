"""What a comparison produces: numbers for ``summary.json``, arrays for the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from equipoise.compare.methods import Method

Array = NDArray[np.floating]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Interval(_Record):
    """A confidence interval of a mean over test photographs (bootstrap, 95 %)."""

    low: float
    high: float


class ImageScore(_Record):
    """How one test photograph was restored.

    PSNR has range 1, no clipping and no quantisation; the residual is relative to its scale.
    """

    name: str
    psnr: float
    ssim: float
    psnr_input: float
    ssim_input: float
    residual: float
    error_bound: float | None
    evaluations: int
    status: str


class RunSummary(_Record):
    """One method on one task, as it stands in ``summary.json``.

    ``alpha_at_limit`` says that the search for alpha ended at its limit. ``certificates`` are the
    statements of ``equipoise certify`` for the first test photograph, each in the form of
    :meth:`equipoise.certify.Statement.record`.
    """

    task: str
    method: Method
    regularizer: str
    label: str
    parameters: int
    psnr_mean: float
    psnr_interval: Interval
    psnr_input: float
    ssim_mean: float
    ssim_interval: Interval
    ssim_input: float
    train_seconds: float
    reconstruct_seconds: float
    forward_evaluations: float
    adjoint_evaluations: float
    converged_fraction: float
    symmetry_defect: float
    symmetry_defect_error: float
    alpha: float
    alpha_at_limit: bool = False
    certificate: str
    tolerance: float
    steps: int
    seed: int
    images: list[ImageScore]
    certificates: list[dict[str, Any]] = Field(default_factory=list)


@dataclass(frozen=True)
class TrainingCurve:
    """What was logged while a regulariser was trained; all arrays have one entry per log line.

    Args:
        steps: optimisation steps so far.
        seconds: training seconds so far.
        loss: upper-level training loss.
        psnr: PSNR on the validation photographs in dB, NaN where it was not measured.
    """

    steps: Array
    seconds: Array
    loss: Array
    psnr: Array


@dataclass(frozen=True)
class RunResult:
    """One method on one task with everything that a page can show.

    Args:
        summary: the numbers.
        reconstructions: test image name -> array of shape (H, W) or (H, W, 3).
        curve: training log; None for the untrained baselines.
        trace: (evaluations, relative residual) of the solve of the first test photograph.
        filters: analysis filters W1 (or K), shape (K, h, w); None where there are none.
        synthesis_filters: W2 as correlation filters aligned with ``filters``; None if tied.
        potentials: (t, values) with values of shape (curves, len(t)): the learned profile
            functions (potential where R is a gradient, activation otherwise); None if none.
    """

    summary: RunSummary
    reconstructions: dict[str, Array]
    curve: TrainingCurve | None
    trace: tuple[Array, Array]
    filters: Array | None = None
    synthesis_filters: Array | None = None
    potentials: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class TaskResult:
    """All methods on one task.

    Args:
        task: its name, for example ``"denoise"``.
        description: one plain sentence: operator and noise.
        truths: test image name -> array (H, W) or (H, W, 3), values in [0, 1].
        inputs: test image name -> what the method starts from, same shape as the truth.
        runs: one entry per method and seed.
        notes: plain sentences about what was tuned and how (baselines).
        failures: one sentence for each run that led to no result.
    """

    task: str
    description: str
    truths: dict[str, Array]
    inputs: dict[str, Array]
    runs: list[RunResult]
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """The main job's whole result.

    Args:
        tasks: one entry per task.
        settings: every setting that the run was started with, JSON-able.
        environment: versions and hardware in words, JSON-able.
        seconds: wall-clock time of the whole comparison.
        command: the command that produces it.
        run: which run produced it.
    """

    tasks: list[TaskResult]
    settings: dict[str, object]
    environment: dict[str, str]
    seconds: float
    command: str
    run: str = ""
