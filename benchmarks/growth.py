"""Table 5: time per pixel as images and batches grow.

Denoising with the published convex regulariser, whose equation is strongly monotone with modulus
1: the distance of x to the solution is at most ``||E(x)||``, so every solve proves its own error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks import machine, plots, timing
from benchmarks.findings import verdict
from benchmarks.instances import Instance, of_images, patches, ridge, tiled
from benchmarks.isolated import TOO_LARGE, isolated
from benchmarks.record import Column, Record, Row, Table, Value
from benchmarks.tables import number
from equipoise.equation import Equation
from equipoise.solve import solve
from equipoise.vectors import norm

#: Sides of images; the ratio is taken between the largest one and BASE.
SIDES = {True: (64, 128, 256, 512), False: (64, 128, 256, 512, 1024, 2048, 4096)}
BASE = 256
#: Side from which an image is measured in a process of its own, which may run out of memory.
ALONE = 1024
#: Images of PATCH x PATCH in a batch.
BATCHES = {True: (1, 4, 16, 64), False: (1, 2, 4, 8, 16, 32, 64, 128, 256)}
PATCH = 64
#: Proved error, relative to the solution, and the share of it that is asked of the residual.
ERROR, MARGIN = 1e-3, 0.9
#: Turns of the single operations, and seconds after which no turn and no solve is begun again.
TURNS, LIMIT = 9, 6.0
#: Solves at most.
SOLVES = 3

_PER_PIXEL = {
    "evaluation": "evaluation",
    "apply": "preconditioner applied",
    "rebuild": "preconditioner made anew",
    "solve": "whole solve",
    "step": "solve, per evaluation",
}
_COLUMNS = [
    *(
        Column(key, _PER_PIXEL[key], "ns/pixel")
        for key in ("evaluation", "apply", "rebuild", "step")
    ),
    Column("evaluations", "evaluations of a solve"),
    Column("seconds", "a solve", "s", 2),
    Column("solve", "a solve", "µs/pixel"),
    Column("error", "error proved", digits=2),
]


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Measure operations and solves for growing images and batches."""
    began = time.perf_counter()
    by_side: dict[int, dict[str, Any] | None] = {}
    for side in SIDES[short]:
        say(f"{side} x {side}")
        alone = side >= ALONE
        by_side[side] = (
            isolated("growth", "measure_image", side=side) if alone else measure_image(side)
        )
    by_count: dict[int, dict[str, Any] | None] = {}
    for count in BATCHES[short]:
        say(f"{count} images of {PATCH} x {PATCH}")
        by_count[count] = measure_batch(count)
    images = {f"{side} x {side}": found for side, found in by_side.items()}
    batches = {str(count): found for count, found in by_count.items()}
    note = (
        f"A solve is to a proved error of {number(ERROR, 1)} relative to the solution. Photographs "
        "of set12 side by side."
    )
    return Record(
        name="growth",
        question="How does the time grow with the size of an image and of a batch?",
        settings={
            "task": "denoise",
            "regulariser": "crr",
            "sigma": 0.1,
            "alpha": 1,
            "seed": 0,
            "dtype": "float32",
            "turns of an operation": f"at most {TURNS}",
            "solves": f"at most {SOLVES}",
        },
        machine=machine.describe(),
        tables=[
            _table("One image", "image", images, note),
            _table(
                f"Batches of {PATCH} x {PATCH}",
                "images",
                batches,
                "Evaluations: largest of the batch. The preconditioner is one for each image.",
            ),
        ],
        findings=_findings(by_side),
        seconds=time.perf_counter() - began,
    )


def plot(record: Record, path: Path) -> None:
    """Draw nanoseconds per pixel over side and batch."""
    panels = []
    for table, label in zip(record.tables, ("side in pixels", "images in the batch"), strict=True):
        sizes = [float(row.label.split()[0]) for row in table.rows]
        curves = [
            plots.Curve(_PER_PIXEL[key], sizes, [_float(row.values.get(key)) for row in table.rows])
            for key in ("evaluation", "step", "rebuild", "apply")
        ]
        ticks = [(size, f"{size:.0f}") for size in sizes]
        panels.append(plots.Lines(table.title, label, "ns per pixel", curves, ticks))
    plots.save(panels, path)


def measure_image(side: int) -> dict[str, Any]:
    """Measure one square image."""
    return _measure(of_images("denoise", tiled(side, side)[None], ridge("crr"), name=""))


def measure_batch(count: int) -> dict[str, Any]:
    """Measure one batch of patches."""
    return _measure(of_images("denoise", patches(count, PATCH), ridge("crr"), name=""))


def _measure(item: Instance) -> dict[str, Any]:
    """Seconds of each operation and of a solve, and what the solve reached."""
    equation, x = item.equation(), item.start()
    took = _operations(equation, x)
    tolerance = MARGIN * ERROR * float((norm(item.truth) / norm(item.y)).min())
    spent: list[float] = []
    while len(spent) < SOLVES and sum(spent) < LIMIT:
        started = time.perf_counter()
        solution = solve(equation, x, tolerance=tolerance)
        timing.synchronize()
        spent.append(time.perf_counter() - started)
    bound = solution.error_bound
    assert bound is not None
    error = float((bound / (norm(solution.x) - bound)).max())
    return {
        "pixels": x.numel(),
        **{key: each.median for key, each in took.items()},
        "seconds": timing.summary(spent).median,
        "evaluations": int(solution.evaluations.max()),
        "work": int(solution.evaluations.sum()) * x[0].numel(),
        "error": error,
    }


def _operations(equation: Equation, x: Tensor) -> dict[str, timing.Timing]:
    inverse = equation.preconditioner(x)
    assert inverse is not None
    return timing.compare(
        {
            "evaluation": lambda: equation.potential_and_residual(x),
            "apply": lambda: inverse(x),
            "rebuild": lambda: equation.preconditioner(x),
        },
        repeats=TURNS,
        burst=2,
        limit_s=LIMIT,
    )


def _table(title: str, subject: str, cases: dict[str, dict[str, Any] | None], note: str) -> Table:
    rows = [
        Row(label, {"evaluation": TOO_LARGE} if found is None else _values(found))
        for label, found in cases.items()
    ]
    return Table(title=title, columns=_COLUMNS, rows=rows, note=note, subject=subject)


def _values(found: dict[str, Any]) -> dict[str, Value]:
    pixels = found["pixels"]
    values: dict[str, Value] = {
        key: 1e9 * found[key] / pixels for key in ("evaluation", "apply", "rebuild")
    }
    values |= {"evaluations": found["evaluations"], "error": found["error"]}
    if found["error"] > ERROR:
        reached = f"not reached: {number(found['error'], 2)} after {found['evaluations']}"
        return values | {"seconds": reached}
    return values | {
        "seconds": found["seconds"],
        "solve": 1e6 * found["seconds"] / pixels,
        "step": 1e9 * found["seconds"] / found["work"],
    }


def _findings(by_side: dict[int, dict[str, Any] | None]) -> list[str]:
    largest = max(by_side)
    ends = [by_side[side] for side in (BASE, largest)]
    base, top = (None if found is None else _values(found) for found in ends)
    sentences = []
    for key, name in _PER_PIXEL.items():
        low = None if base is None else _float(base.get(key))
        high = None if top is None else _float(top.get(key))
        ratio = None if low is None or high is None else high / low
        measure = f"Time per pixel, {largest} x {largest} over {BASE} x {BASE}, {name}"
        sentences.append(verdict(measure, ratio, 1.3, 1.1, "x", 3))
    return sentences


def _float(value: Value) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
