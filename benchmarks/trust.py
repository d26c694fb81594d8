"""Is what a solve says of itself true? Random problems against float64.

Of every sample that is called CONVERGED the residual is computed again in float64; where the
solution is unique, the distance to a float64 reference, which Newton's method finds with dense
Jacobians, is held against the claimed bound and against ten times tolerance times the reference's
standard deviation. Three things no residual tells; where one of them excuses a distance above that
limit, it is counted:

* weak directions: of a difference the part along each right singular vector of the Jacobian, its
  rows balanced as A sees the pixels, counts by its singular value over the change of E between a
  constant image and the solution, or the data term's largest curvature, where it is below that (at
  the reference or, where that does not excuse it, on average between both);
* strong smoothing: where the reference varies less than a tenth of what varies in the data, the
  distance is held against tolerance times the latter;
* constant data: where nothing varies in them, the distance is held against ten times tolerance
  times the reference's root mean square, or, of data that are zero, times the scale.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import machine, plots, trust_reference
from benchmarks.record import Column, Record, Row, Table
from benchmarks.trust_problems import Problem, draw_problem
from equipoise.certify.posteriori import error_bound
from equipoise.equation import Equation
from equipoise.errors import EquipoiseError
from equipoise.solve import solve
from equipoise.status import Solution, Status
from equipoise.vectors import norm

#: Problems in full and in the short version.
FULL, SHORT = 10_000, 2_000
#: Share of the allowed distance that a reference may be off by.
SHARE = 1e-2
#: Share of samples at usual scales that may fail by name.
FAILURES = 0.05
#: What is held against float64, and what each ratio is of: above 1 the claim is false.
CLAIMS = {
    "residuals": "residual / (tolerance x scale)",
    "distances": "distance / allowed distance",
    "bounds": "distance / claimed bound",
    "certified bounds": "distance / certified bound",
}
#: Shares of the samples whose ratios are shown.
SHARES = (0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
#: Seconds between two words of progress.
PROGRESS = 15.0


@dataclass
class Findings:
    """What some problems showed; counts are of samples."""

    samples: Counter[str] = field(default_factory=Counter)
    usual: Counter[str] = field(default_factory=Counter)
    unusual: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    false: list[str] = field(default_factory=list)
    ratios: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CLAIMS})

    def add(self, other: Findings) -> None:
        """Put what other problems showed to it."""
        self.samples += other.samples
        self.usual += other.usual
        self.unusual += other.unusual
        self.failed += other.failed
        self.excused += other.excused
        self.false += other.false
        for name, values in other.ratios.items():
            self.ratios[name] += values


def examine(seed: int) -> Findings:
    """Draw the problem of a seed, solve it, and hold what is said against float64."""
    torch.set_num_threads(1)
    found = Findings()
    try:
        problem = draw_problem(seed)
        equation = problem.equation
        start = equation.adjoint_data if problem.start is None else problem.start
        solution = solve(equation, start, tolerance=problem.tolerance)
    except EquipoiseError as error:
        found.samples["refused"] += 1
        found.failed[f"refused: {type(error).__name__}"] += 1
        return found
    where = found.usual if problem.usual_scale else found.unusual
    for status in solution.statuses:
        where[status.name] += 1
        if status is not Status.CONVERGED and problem.usual_scale:
            found.failed[f"{problem.words['field']}"] += 1
            found.failed[f"{problem.words['physics']}"] += 1
            found.failed[f"{problem.words['dtype']}"] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _judge(problem, solution, found)
    return found


def _judge(problem: Problem, solution: Solution, found: Findings) -> None:
    exact, gauge = problem.exact, problem.equation.gauge
    good = solution.converged
    if not bool(good.any()):
        return

    def hold(name: str, i: int, value: float, limit: float, off: float = 0.0) -> None:
        over = max(0.0, value - off)
        ratio = over / limit if limit > 0 else (math.inf if over > 0 else 0.0)
        found.samples[name] += 1
        found.ratios[name].append(ratio)
        if not ratio <= 1.0:
            words = f"seed {problem.seed}, sample {i}: {CLAIMS[name]} is {ratio:.4g}"
            found.false.append(f"{words}; {problem.words}")

    x = solution.x.double()
    e = exact.residual(x)
    weights = None if gauge.weights is None else gauge.weights.double()
    size = norm(e if weights is None else e / weights)
    goal = problem.tolerance * gauge.scale.double()
    for i in good.nonzero().flatten().tolist():
        hold("residuals", i, float(size[i]), float(goal[i]))
    if not (exact.traits.monotone or _strong(exact)):
        return
    certified = _certified(problem, solution)
    for i in good.nonzero().flatten().tolist():
        reference = trust_reference.find(problem, x, i)
        if reference is None:
            found.samples["no reference"] += 1
            continue
        point, off = reference.point, reference.off
        distance = float((x[i] - point).norm())
        plain, allowed, excuse = trust_reference.limits(problem, reference, i)
        if off > SHARE * allowed:
            found.samples["no reference"] += 1
            continue
        if distance > plain + off:
            found.excused[excuse] += 1
        hold("distances", i, reference.felt(x[i], allowed), allowed, off)
        for name, bounds in (("bounds", solution.error_bound), ("certified bounds", certified)):
            if bounds is not None:
                hold(name, i, distance, float(bounds[i]), off)


def _strong(equation: Equation) -> bool:
    m = equation.modulus
    return m is not None and m.proved and m.value > 0


def _certified(problem: Problem, solution: Solution) -> Tensor | None:
    try:
        return error_bound(problem.equation, solution.x)
    except EquipoiseError:
        return None


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Examine random problems on all processors."""
    began = said = time.perf_counter()
    count = SHORT if short else FULL
    total = Findings()
    for done, found in enumerate(_all(range(count)), 1):
        total.add(found)
        for line in found.false:
            say(line)
        if time.perf_counter() - said > PROGRESS:
            said = time.perf_counter()
            say(f"{done} of {count} problems, {len(total.false)} false")
    return Record(
        "trust",
        "Is what a solve says of itself true?",
        {"problems": count, "seeds": f"0 to {count - 1}", "allowed": trust_reference.ALLOWED},
        machine.describe(),
        _tables(total),
        _sentences(total),
        time.perf_counter() - began,
    )


def _all(seeds: range) -> Iterator[Findings]:
    workers = max(1, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(examine, seeds, chunksize=20)


def _tables(total: Findings) -> list[Table]:
    names = [status.name for status in Status if status is not Status.RUNNING]
    rows = []
    for label, counts in (("1e-6 to 1e6", total.usual), ("beyond", total.unusual)):
        values: dict[str, Any] = {name: counts[name] for name in names}
        rows.append(Row(label, values))
    statuses = Table(
        "Statuses of samples",
        [Column(name, name.lower().replace("_", " ")) for name in names],
        rows,
        subject="data of size",
    )
    held = Table(
        "What was held against float64",
        [Column("samples", "samples"), Column("false", "false")],
        [
            Row(name, {"samples": len(ratios), "false": sum(not r <= 1.0 for r in ratios)})
            for name, ratios in total.ratios.items()
        ],
        f"No reference was found for {total.samples['no reference']} samples; "
        f"{total.samples['refused']} problems were refused.",
        subject="claim",
    )
    beyond = Table(
        "Distances above ten times tolerance times the reference's standard deviation",
        [Column("samples", "samples")],
        [Row(name, {"samples": number}) for name, number in total.excused.most_common()],
        subject="excused by",
    )
    columns = [Column(name, words) for name, words in CLAIMS.items()]
    ratios = Table(
        "Ratios, of which none may exceed 1",
        columns,
        [
            Row(f"{share:g}", {name: _quantile(total.ratios[name], share) for name in CLAIMS})
            for share in SHARES
        ],
        subject="share of samples below",
    )
    worst = Table(
        "Named failures at usual scales",
        [Column("samples", "samples")],
        [Row(name, {"samples": number}) for name, number in total.failed.most_common()],
        subject="with",
    )
    return [held, beyond, ratios, statuses, worst]


def _quantile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _sentences(total: Findings) -> list[str]:
    everywhere = sum(total.usual.values())
    failures = everywhere - total.usual["CONVERGED"]
    share = failures / max(1, everywhere)
    return [
        f"False claims: {len(total.false)} (at most 0).",
        f"Named failures at data scales from 1e-6 to 1e6: {failures} of {everywhere} samples, "
        f"{100 * share:.2g} % (at most {100 * FAILURES:g} %).",
        *total.false[:20],
    ]


def plot(record: Record, path: Path) -> None:
    """Draw the ratios over the share of samples that exceed them."""
    table = next(table for table in record.tables if table.title.startswith("Ratios"))
    rows = table.rows[:-1]
    beyond = [1.0 - float(row.label) for row in rows]
    curves = [
        plots.Curve(column.heading, beyond, [_number(row.values[column.key]) for row in rows])
        for column in table.columns
    ]
    limit = plots.Curve("false above", beyond, [1.0] * len(beyond))
    panel = plots.Lines(
        "Claims held against float64", "share of samples beyond", "ratio", [*curves, limit]
    )
    plots.save([panel], path)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
