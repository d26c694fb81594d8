"""Table 4: a training step from warm starts and cold; time to a given validation PSNR.

Photographs that come with scikit-image, denoising, a convex ridge regulariser. The steps that are
compared are those of a real training: both see the same weights and the same patches, one after
the other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine, plots
from benchmarks.findings import verdict
from benchmarks.race import METHODS, WARM, Run
from benchmarks.race import run as race
from benchmarks.record import Column, Record, Row, Table, Value
from benchmarks.replay import (
    SIGMA,
    WIDTHS,
    Step,
    Trajectory,
    cosine,
    exact_gradient,
    replay,
    trajectory,
)
from benchmarks.tables import number
from equipoise.learn import TrainSettings
from equipoise.learn.rates import usual_learning_rate
from equipoise.problems import photographs

#: Relative residual of the lower-level solves late in training, and of the adjoints: what
#: training asks for, and what counts as exact.
TOLERANCE, USUAL_ADJOINT, EXACT_ADJOINT = 1e-4, 3e-2, 1e-3
#: Products allowed for an adjoint.
PRODUCTS = 300
#: The target is so many dB below what training by the exact gradient reaches in the end.
BELOW = 0.2
#: Steps of the window that are compared with the exact hypergradient.
COMPARED = 2


@dataclass(frozen=True)
class Scale:
    """Sizes of one version of this benchmark.

    Args:
        patch: side of a patch.
        patches: in the bank of the usual training.
        steps: of the usual training whose late steps are compared.
        measured: how many of these.
        race: steps of the trainings that run against each other.
        crop: side of the validation crops.
        seeds: of those trainings.
        validate_every: their steps between two validations.
    """

    patch: int
    patches: int
    steps: int
    measured: int
    race: int
    crop: int
    seeds: int
    validate_every: int


FULL = Scale(
    patch=40, patches=96, steps=80, measured=16, race=60, crop=96, seeds=1, validate_every=6
)
SHORT = Scale(
    patch=32, patches=32, steps=24, measured=4, race=12, crop=64, seeds=1, validate_every=3
)

_STEP_COLUMNS = [
    Column("warm", "warm", "ms"),
    Column("cold", "cold", "ms"),
    Column("ratio", "cold over warm", digits=2),
    Column("warm_evaluations", "evaluations, warm", digits=2),
    Column("cold_evaluations", "cold", digits=2),
    Column("warm_products", "products, warm", digits=2),
    Column("cold_products", "cold", digits=2),
    Column("solved", "solved to tolerance", "%"),
    Column("warm_cosine", "cosine with exact, warm", digits=5),
    Column("cold_cosine", "cold", digits=5),
    Column("psnr", "PSNR of the training", "dB", digits=4),
]
_RACE_COLUMNS = [
    Column("seconds", "seconds to the target", "s"),
    Column("step", "one step", "ms"),
    Column("psnr", "PSNR in the end", "dB", digits=4),
    Column("equilibrium", "of the equilibrium", "dB", digits=4),
    Column("cosine", "median cosine with exact", digits=4),
    Column("worst", "least cosine", digits=4),
]


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Compare training steps, then whole trainings."""
    began = time.perf_counter()
    scale = SHORT if short else FULL
    rate = usual_learning_rate("ridge")
    rows = []
    for label, changes in _trainings(short, scale, rate):
        settings = _settings(scale, 0, {**changes, "validate_every": changes["steps"]})
        skip = -(-settings.patches // settings.batch_size)
        say(f"training: {label}")
        past = trajectory(photographs(), settings, skip + scale.measured, scale.crop)
        for adjoint in (USUAL_ADJOINT, EXACT_ADJOINT):
            say(f"replay: {label}, adjoint to {adjoint:g}")
            values = _compare(past, adjoint, skip)
            rows.append(Row(f"{label}, adjoint to {adjoint:g}", values))
    findings = [
        verdict(
            f"Cold over warm-started step, {row.label}", _float(row.values["ratio"]), 2, 4, "x", 3
        )
        for row in rows
    ]
    table, words = _races(scale, rate, say)
    return Record(
        name="training",
        question="How much do warm starts save in training, and how soon is a given PSNR reached?",
        settings={
            "regulariser": f"convex ridge, filters {WIDTHS}",
            "task": f"denoising, sigma {SIGMA:g}",
            "images": "photographs of scikit-image",
            "patch": scale.patch,
            "batch": TrainSettings().batch_size,
            "measured steps": scale.measured,
            "steps to the target": scale.race,
            "tolerance": TOLERANCE,
            "seeds": scale.seeds,
            "dtype": "float32",
        },
        machine=machine.describe(),
        tables=[_step_table(rows), table],
        findings=[*findings, *words],
        seconds=time.perf_counter() - began,
    )


def plot(record: Record, path: Path) -> None:
    """Draw ratios of steps and times to the target."""
    steps, races = record.tables
    ratios = [plots.Bar(row.label, _float(row.values.get("ratio"))) for row in steps.rows]
    times = [
        plots.Bar(row.label, _float(row.values["seconds"]), _words(row.values["seconds"]))
        for row in races.rows
    ]
    panels = [
        plots.Bars(
            steps.title, "seconds of a cold step over a warm one", ratios, [(2, ""), (4, "")]
        ),
        plots.Bars(races.title, "s", times),
    ]
    plots.save(panels, path)


def _trainings(short: bool, scale: Scale, rate: float) -> list[tuple[str, dict[str, Value]]]:
    """The usual training first, then banks and learning rates around it."""

    def entry(
        patches: int, learning_rate: float, steps: int = scale.steps
    ) -> tuple[str, dict[str, Value]]:
        label = f"{patches} patches, rate {learning_rate:g}, {steps} steps"
        return label, {"patches": patches, "learning_rate": learning_rate, "steps": steps}

    usual = entry(scale.patches, rate)
    if short:
        return [usual]
    return [
        usual,
        entry(scale.patches, rate, 4 * scale.steps),
        entry(scale.patches, 3 * rate),
        entry(32, rate),
        entry(8, rate),
    ]


def _settings(scale: Scale, seed: int, changes: dict[str, Value]) -> TrainSettings:
    usual: dict[str, Value] = {
        "patches": scale.patches,
        "patch_size": scale.patch,
        "seed": seed,
        "tolerance": TOLERANCE,
        "adjoint_tolerance": USUAL_ADJOINT,
    }
    return TrainSettings.model_validate({**usual, **changes})


def _compare(past: Trajectory, adjoint: float, skip: int) -> dict[str, Value]:
    """Median costs of the steps of a window, and how right their gradients are."""
    changes = {"adjoint_tolerance": adjoint, "max_products": PRODUCTS}
    settings = past.settings.model_copy(update=changes)
    warm, cold = [], []
    cosines: dict[str, list[float]] = {"warm": [], "cold": []}
    measured = len(past.weights) - skip
    for one, other in replay(past, settings, skip):
        warm.append(one)
        cold.append(other)
        if len(warm) * COMPARED % measured < COMPARED:
            exact = exact_gradient(past, one.number)
            cosines["warm"].append(cosine(one.gradient, exact))
            cosines["cold"].append(cosine(other.gradient, exact))
    reports = [step.report for step in (*warm, *cold)]
    solved = statistics.mean(0.5 * (r.converged + r.adjoint_converged) for r in reports)
    values: dict[str, Value] = {
        "ratio": sum(s.seconds for s in cold) / sum(s.seconds for s in warm),
        "solved": 100.0 * solved,
        "psnr": past.psnr,
    }
    for name, steps in (("warm", warm), ("cold", cold)):
        values[name] = 1e3 * statistics.median(step.seconds for step in steps)
        values[f"{name}_evaluations"] = _mean(steps, "forward_evaluations")
        values[f"{name}_products"] = _mean(steps, "adjoint_products")
        values[f"{name}_cosine"] = min(cosines[name])
    return values


def _step_table(rows: list[Row]) -> Table:
    return Table(
        title="A training step from warm starts and cold",
        columns=_STEP_COLUMNS,
        rows=rows,
        note="The last steps of trainings; the first row is the usual one. Solves to "
        f"{TOLERANCE:g}; times are medians, the ratio is that of their sums, evaluations and "
        f"products are means per patch, cosines the least of {COMPARED} steps; the exact gradient "
        "is solved in float64.",
        subject="training",
    )


def _races(scale: Scale, rate: float, say: Callable[[str], None]) -> tuple[Table, list[str]]:
    """Train by every method from the same seeds."""
    data = photographs()
    runs: dict[str, list[Run]] = {label: [] for label in METHODS}
    for seed in range(scale.seeds):
        changes: dict[str, Value] = {
            "steps": scale.race,
            "learning_rate": rate,
            "validate_every": scale.validate_every,
        }
        settings = _settings(scale, seed, changes)
        for label in METHODS:
            say(f"seed {seed}: {label}")
            runs[label].append(race(label, data, settings, scale.crop, scale.race // 3))
    targets = [each.psnr[-1] - BELOW for each in runs[WARM]]
    rows = [Row(label, _race_row(each, targets)) for label, each in runs.items()]
    table = Table(
        title="Time to a given validation PSNR",
        columns=_RACE_COLUMNS,
        rows=rows,
        note=f"The target is {BELOW:g} dB below the end of the exact training from warm starts: "
        + ", ".join(f"{number(target, 4)} dB" for target in targets)
        + f"; {scale.race} steps each. Seeds: {scale.seeds}, medians over them; unrolled steps are "
        "judged by what they reconstruct themselves.",
        subject="gradient",
    )
    times = {row.label: row.values["seconds"] for row in rows}
    first = times[WARM]
    words = [
        f"Time to the target over that of exact training from warm starts, {label}: "
        + (f"{number(other / first, 2)}x." if isinstance(other, float) else f"{other}.")
        for label, other in times.items()
        if label != WARM and isinstance(first, float)
    ]
    return table, words


def _race_row(runs: Sequence[Run], targets: Sequence[float]) -> dict[str, Value]:
    times = [each.time_to(target) for each, target in zip(runs, targets, strict=True)]
    reached = [t for t in times if t is not None]
    seconds: Value
    if len(reached) == len(times):
        seconds = statistics.median(reached)
    else:
        best = statistics.median(max(each.psnr) for each in runs)
        spent = statistics.median(each.seconds[-1] for each in runs)
        missed = len(times) - len(reached)
        seconds = f"not reached by {missed} of {len(times)}: {number(best, 4)} dB in {spent:.0f} s"
    cosines = [value for each in runs for value in each.cosines]
    return {
        "seconds": seconds,
        "step": 1e3 * statistics.median(each.step_seconds for each in runs),
        "psnr": statistics.median(each.psnr[-1] for each in runs),
        "equilibrium": _equilibrium(runs),
        "cosine": statistics.median(cosines),
        "worst": min(cosines),
    }


def _equilibrium(runs: Sequence[Run]) -> Value:
    if any(each.converged < 1 for each in runs):
        return "not solved"
    return statistics.median(each.equilibrium_psnr for each in runs)


def _mean(steps: Sequence[Step], name: str) -> float:
    return statistics.mean(getattr(step.report, name) for step in steps)


def _float(value: Value) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _words(value: Value) -> str:
    return value if isinstance(value, str) else ""
