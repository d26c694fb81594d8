"""Evaluations of our own solvers, as medians over images, for a batch, and to a residual."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.findings import verdict
from benchmarks.instances import Instance, of_images, patches, ridge
from benchmarks.peers.cases import (
    CASES,
    GOAL,
    LEVELS,
    MAIN,
    REQUIRED,
    RESIDUALS,
    TIGHT,
    TIGHTER,
    Case,
    Plan,
    apart,
    name_of,
    solved,
)
from benchmarks.peers.comparison import error_columns, method_row, not_reached
from benchmarks.peers.methods import DEFAULT, NONMONOTONE, OURS, PLAIN
from benchmarks.peers.setting import setting
from benchmarks.peers.watch import Point, Trajectory, Watch
from benchmarks.record import Column, Row, Table, Value
from equipoise.solve import NonmonotoneAcceleratedGradient, Solver, solve


def count(plan: Plan, say: Callable[[str], None]) -> tuple[Table, list[str]]:
    """Count the evaluations of our solvers on several images."""
    rows, findings = [], []
    for case in CASES:
        say(f"counting evaluations: {case.label}")
        runs: dict[str, list[Trajectory]] = {method.label: [] for method in OURS}
        doubts: list[float] = []
        for index in range(plan.images if case.task != "tomography" else 1):
            one = case.instance(plan, index)
            exact = solved(one)
            given = setting(one)
            if exact.error_bound is not None:
                doubts.append(exact.error_bound)
            elif plan.twice and index == 0:
                doubts.append(apart(one))
            for method in OURS:
                if method.label == NONMONOTONE and case.task != "denoise":
                    continue
                runs[method.label].append(method(given, Watch(exact.error, GOAL, plan.own)))
        for level in LEVELS:
            values = {label: _reached(each, level) for label, each in runs.items()}
            row = _count_row(case, level, values)
            row.values["doubt"] = max(doubts, default=None)
            rows.append(row)
            findings += _count_findings(case, level, row)
    columns = [
        Column("images", "images"),
        Column("own", "default solver, median"),
        Column("range", "least to most"),
        Column("plain", "L-BFGS without preconditioner"),
        Column("nonmonotone", "nonmonotone accelerated gradient"),
        Column("ratio", "its ratio to ours, median", digits=2),
        Column("required", "required"),
        Column("aim", "aim"),
        Column("doubt", "doubt about the reference", digits=2),
    ]
    note = (
        "Evaluations of potential and gradient until the error is first reached, medians over "
        "images. References are SciPy L-BFGS-B solutions in float64 with a residual of at most "
        f"{TIGHT['denoise']:g} (denoising), {TIGHT['inpaint']:g} (inpainting) and {TIGHTER:g} "
        "(other tasks), relative to the image. "
        "Doubt: for denoising with crr the largest proved bound on the reference's own relative "
        "error (strong convexity 1), otherwise the distance of two references from different "
        "starts, for the first image."
    )
    return Table("Evaluations to an error", columns, rows, note, "problem, error"), findings


def _reached(runs: Sequence[Trajectory], level: float) -> list[int | None]:
    points = [each.first(level) for each in runs]
    return [None if point is None else point.evaluations for point in points]


def _count_row(case: Case, level: float, values: dict[str, list[int | None]]) -> Row:
    own, nonmonotone = values[DEFAULT], values[NONMONOTONE]
    pairs = zip(nonmonotone, own, strict=False)
    ratios = [b / a for b, a in pairs if a is not None and b is not None]
    known = [value for value in own if value is not None]
    required, aim = REQUIRED.get((case, level), (None, None))
    cells: dict[str, Value] = {
        "images": len(own),
        "own": _median(own),
        "range": f"{min(known)} to {max(known)}" if known else None,
        "plain": _median(values[PLAIN]),
        "nonmonotone": _median(nonmonotone),
        "ratio": statistics.median(ratios) if ratios else None,
        "required": required,
        "aim": aim,
    }
    return Row(f"{case.label}, {name_of(level)}", cells)


def _median(values: Sequence[int | None]) -> Value:
    """Median; words where not every image got there."""
    if not values:
        return None
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return f"reached on {len(known)} of {len(values)}"
    return float(statistics.median(known))


def _count_findings(case: Case, level: float, row: Row) -> list[str]:
    findings = []
    own, ratio = row.values["own"], row.values["ratio"]
    bounds = REQUIRED.get((case, level))
    if bounds is not None:
        value = own if isinstance(own, float) else None
        findings.append(verdict(f"evaluations to {name_of(level)}, {case.label}", value, *bounds))
    if case == MAIN and level == LEVELS[0]:
        value = ratio if isinstance(ratio, float) else None
        measure = "evaluations of nonmonotone accelerated gradient over ours, denoising, crr, 1e-3"
        findings.append(verdict(measure, value, 3, 5))
    return findings


def batch_of_patches(plan: Plan, say: Callable[[str], None]) -> tuple[Table, list[str]]:
    """Solve 8 patches at once with each of our solvers."""
    say("a batch of 8 patches")
    truth = patches(8, 64)
    whole = of_images("denoise", truth, ridge("crr"), name="8 patches 64 x 64")
    exact = [solved(part) for part in _parts(whole)]
    given = setting(whole)

    def error(x: Tensor) -> Tensor:
        return torch.cat([each.error(x[k : k + 1]) for k, each in enumerate(exact)])

    found = {method.label: method(given, Watch(error, GOAL, 2 * plan.own)) for method in OURS}
    own, other = (found[label].first(LEVELS[1]) for label in (DEFAULT, NONMONOTONE))
    ratio = other.evaluations / own.evaluations if own and other else None
    measure = "batch of 8 patches: evaluations of nonmonotone accelerated gradient over ours, 1e-4"
    title = "Denoising, crr, a batch of 8 patches of 64 x 64: error of the worst patch"
    rows = [method_row(label, each, found[DEFAULT]) for label, each in found.items()]
    note = "Evaluations of the patch that needs most; no patch is taken out of the batch."
    return Table(title, error_columns(), rows, note, "method"), [verdict(measure, ratio, 3, 5)]


def _parts(whole: Instance) -> Iterator[Instance]:
    for k in range(len(whole.y)):
        yield replace(
            whole,
            truth=whole.truth[k : k + 1],
            y=whole.y[k : k + 1],
            name=f"{whole.name}, number {k + 1}",
        )


def weakly_convex(plan: Plan, say: Callable[[str], None]) -> Table:
    """Evaluations to a residual where A loses information and R is weakly convex."""
    rows = []
    solvers: dict[str, Solver | None] = {
        "default": None,
        "nonmonotone": NonmonotoneAcceleratedGradient(),
    }
    for case in (Case("inpaint", "wcrr"), Case("deblur", "wcrr")):
        say(f"residuals: {case.label}")
        one = case.instance(plan, 0)
        histories = {
            name: _history(one, solver, 400 if name == "default" else 1000)
            for name, solver in solvers.items()
        }
        for level in RESIDUALS:
            cells = {name: _evaluations(each, level) for name, each in histories.items()}
            rows.append(Row(f"{case.label}, {name_of(level)}", cells))
    columns = [
        Column("default", "evaluations of the default solver"),
        Column("nonmonotone", "of nonmonotone accelerated gradient"),
    ]
    note = (
        "Stationary points of these problems may differ, so that no error is given: the residual "
        "is the size of E(x) relative to the equation's scale."
    )
    title = "Weakly convex R where A loses information, one image: evaluations to a residual"
    return Table(title, columns, rows, note, "problem, residual")


def _history(one: Instance, solver: Solver | None, limit: int) -> list[Point]:
    solution = solve(
        one.equation(),
        one.start(),
        solver,
        tolerance=RESIDUALS[-1],
        max_evaluations=limit,
        history=True,
    )
    assert solution.history is not None
    assert solution.history_evaluations is not None
    pairs = zip(
        solution.history_evaluations[:, 0].tolist(), solution.history[:, 0].tolist(), strict=True
    )
    return [Point(int(spent), solution.seconds, residual) for spent, residual in pairs]


def _evaluations(history: list[Point], level: float) -> Value:
    trajectory = Trajectory(history)
    point = trajectory.first(level)
    return not_reached(trajectory) if point is None else point.evaluations
