"""Synthetic comparisons with realistic arrays and chosen scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from equipoise.certify import Statement
from equipoise.compare.bootstrap import bootstrap_interval
from equipoise.compare.records import (
    Array,
    Comparison,
    ImageScore,
    Method,
    RunResult,
    RunSummary,
    TaskResult,
    TrainingCurve,
)

NAMES = ("camera", "coffee", "cat", "rocket")
FILTERS = 8


@dataclass(frozen=True)
class Kind:
    """One method of a synthetic task: what it is called and how well it does."""

    method: Method
    regularizer: str
    label: str
    parameters: int
    gains: Sequence[float]
    filters: int = 0
    untied: bool = False
    defect: float = 0.0
    defect_error: float = 0.0
    train_seconds: float = 20.0
    solve_seconds: float = 1.0
    converged: float = 1.0
    certificate: str = "none"
    seed_shifts: Sequence[float] = field(default=(0.0,))
    certificates: Sequence[Statement] = ()


TIKHONOV = Kind("tikhonov", "tikhonov", "Tikhonov", 1, (5.0, 5.2, 4.9, 5.3), train_seconds=2)
TV = Kind("tv", "tv", "Total variation", 1, (6.8, 7.1, 6.7, 7.2), train_seconds=4)
TIED = Kind(
    "bilevel", "tied-conv", "Tied pair, bilevel", 416, (7.6, 7.9, 7.5, 8.0), FILTERS,
    certificate="convex, modulus 1 (PROVED)",
)  # fmt: skip
UNTIED = Kind(
    "equilibrium", "untied-conv", "Untied pair, equilibrium", 808, (7.7, 8.05, 7.55, 8.2), FILTERS,
    untied=True, defect=0.31, defect_error=0.02, train_seconds=36.0, solve_seconds=2.0,
)  # fmt: skip
HALF = Kind(
    "equilibrium", "untied-conv", "Untied pair at half width, equilibrium", 404,
    (7.5, 8.0, 7.4, 8.1), FILTERS // 2, untied=True, defect=0.28, defect_error=0.03,
)  # fmt: skip
RIDGE = Kind("bilevel", "crr", "Convex ridge, bilevel", 900, (7.2, 7.5, 7.1, 7.7), FILTERS)
ALL = (TIKHONOV, TV, TIED, RIDGE, UNTIED, HALF)


def build_comparison(*tasks: TaskResult, settings: dict[str, object] | None = None) -> Comparison:
    return Comparison(
        tasks=list(tasks),
        settings=settings or {"steps": 300, "seed": 0, "tasks": ["denoise"], "solver": {"m": 5}},
        environment={"python": "3.11", "cpu": "2 cores"},
        seconds=123.0,
        command="equipoise compare --seed 0",
    )


def build_task(
    kinds: Sequence[Kind] = ALL,
    *,
    task: str = "denoise",
    truths: dict[str, Array] | None = None,
    photographs: int = 4,
    size: int = 40,
    seed: int = 0,
) -> TaskResult:
    """Build a task whose photographs gain what its kinds say (to the last digit)."""
    rng = np.random.default_rng(seed)
    if truths is None:
        truths = {name: rng.random((size, size)) for name in NAMES[:photographs]}
    inputs = {name: t + 0.1 * rng.standard_normal(t.shape) for name, t in truths.items()}
    runs = [
        _run(kind, task, truths, seed_number, shift, rng)
        for kind in kinds
        for seed_number, shift in enumerate(kind.seed_shifts)
    ]
    return TaskResult(
        task=task,
        description="Gaussian noise of standard deviation 0.1.",
        truths=truths,
        inputs=inputs,
        runs=runs,
        notes=["Total variation was tuned on 4 validation photographs."],
    )


def _run(
    kind: Kind, task: str, truths: dict[str, Array], seed: int, shift: float, rng: Generator
) -> RunResult:
    scores = [
        ImageScore(
            name=name,
            psnr=20.0 + gain + shift,
            ssim=0.6 + 0.03 * gain,
            psnr_input=20.0,
            ssim_input=0.45,
            residual=8e-5,
            error_bound=0.01 if kind.method == "bilevel" else None,
            evaluations=120,
            status="CONVERGED",
        )
        for name, gain in zip(truths, kind.gains, strict=False)
    ]
    psnr, ssim = np.array([s.psnr for s in scores]), np.array([s.ssim for s in scores])
    summary = RunSummary(
        task=task,
        method=kind.method,
        regularizer=kind.regularizer,
        label=kind.label,
        parameters=kind.parameters,
        psnr_mean=float(psnr.mean()),
        psnr_interval=bootstrap_interval(psnr),
        psnr_input=20.0,
        ssim_mean=float(ssim.mean()),
        ssim_interval=bootstrap_interval(ssim),
        ssim_input=0.45,
        train_seconds=kind.train_seconds,
        reconstruct_seconds=kind.solve_seconds,
        forward_evaluations=118.5,
        adjoint_evaluations=14.0 if kind.filters else 0.0,
        converged_fraction=kind.converged,
        symmetry_defect=kind.defect,
        symmetry_defect_error=kind.defect_error,
        alpha=0.1,
        certificate=kind.certificate,
        tolerance=1e-4,
        steps=300 if kind.filters else 0,
        seed=seed,
        images=scores,
        certificates=[statement.record() for statement in kind.certificates],
    )
    analysis = _filters(kind.filters, rng) if kind.filters else None
    t = np.linspace(-1, 1, 41)
    slopes = rng.uniform(0.5, 3.0, (max(kind.filters, 1), 1))
    return RunResult(
        summary=summary,
        reconstructions={
            name: truth + 10 ** (-score.psnr / 20) * rng.standard_normal(truth.shape)
            for (name, truth), score in zip(truths.items(), scores, strict=False)
        },
        curve=_curve(kind, rng) if kind.filters else None,
        trace=_trace(kind, rng),
        filters=analysis,
        synthesis_filters=analysis + 0.3 * _filters(kind.filters, rng)
        if analysis is not None and kind.untied
        else None,
        potentials=(t, np.log(np.cosh(slopes * t))) if kind.filters else None,
    )


def _filters(count: int, rng: Generator) -> Array:
    rows, columns = np.mgrid[-3:4, -3:4]
    angle, frequency = rng.uniform(0, np.pi, count), rng.uniform(0.5, 2.5, count)
    phase = np.cos(angle)[:, None, None] * rows + np.sin(angle)[:, None, None] * columns
    waves = np.cos(frequency[:, None, None] * phase + 0.7)
    filters = waves * np.exp(-(rows**2 + columns**2) / 6) * rng.uniform(0.2, 1, (count, 1, 1))
    return np.asarray(filters - filters.mean((1, 2), keepdims=True))


def _curve(kind: Kind, rng: Generator) -> TrainingCurve:
    steps = np.arange(1.0, 301.0)
    progress = 1 - np.exp(-steps / 60)
    level = float(np.mean(kind.gains))
    psnr = 21 + (level - 1) * progress
    psnr[np.arange(300) % 25 != 24] = np.nan
    loss = 10 ** (-(2 + 0.1 * level * progress)) * np.exp(0.2 * rng.standard_normal(300))
    return TrainingCurve(steps, kind.train_seconds * steps / 300, loss, psnr)


def _trace(kind: Kind, rng: Generator) -> tuple[Array, Array]:
    last = int(rng.integers(60, 200)) * (4 if kind.method == "tv" else 1)
    evaluations = np.linspace(1, last, 40)
    wobble = np.exp(0.2 * rng.standard_normal(40))
    return evaluations, 10 ** (-4 * evaluations / last) * wobble
