"""Table 2: solving the equation, against other packages on the same field and the same step.

Errors are relative distances to references that another solver found in float64 from the formula
(:mod:`benchmarks.reference`); a stopwatch that sees every evaluation finds when a method first had
an error, whatever the method itself would have stopped at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine, plots
from benchmarks.peers.cases import CASES, FULL, LEVELS, MAIN, SHORT, name_of
from benchmarks.peers.comparison import compare, comparison_table, curve_tables, speed_ups
from benchmarks.peers.counts import batch_of_patches, count, weakly_convex
from benchmarks.record import Record, Table


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Solve the standard problems with every method."""
    began = time.perf_counter()
    plan = SHORT if short else FULL
    counts, findings = count(plan, say)
    batch, words = batch_of_patches(plan, say)
    findings += words
    tables = [counts, batch]
    curves: list[Table] = []
    for case in CASES:
        found = dict(compare(case, plan, say))
        tables.append(comparison_table(case, found))
        if case == MAIN:
            findings += speed_ups(found)
            curves = curve_tables(found)
    tables += [weakly_convex(plan, say), *curves]
    settings: dict[str, Any] = {
        "image size": plan.size,
        "tomography": plan.small,
        "images": plan.images,
        "images against peers": 1,
        "noise seed": "the image's index",
        "dtype": "float32",
        "errors": [name_of(level) for level in LEVELS],
        "repeats of our solvers": plan.repeats,
        "limit of equilibrium models on denoising, crr, in s": plan.longest,
        "limit of other peers in s": plan.brief,
    }
    return Record(
        "forward",
        "How long does it take to solve the equation, and how long do other packages take?",
        settings,
        machine.describe(),
        tables,
        findings,
        time.perf_counter() - began,
    )


def plot(record: Record, path: Path) -> None:
    """Draw errors against evaluations and seconds."""
    panels = []
    for table in record.tables:
        if table.subject not in ("evaluations", "seconds"):
            continue
        x = [float(row.label) for row in table.rows]
        curves = []
        for column in table.columns:
            y = [row.values.get(column.key) for row in table.rows]
            values = [each if isinstance(each, float) else None for each in y]
            curves.append(plots.Curve(column.heading, x, values))
        x_label = "time (s)" if table.subject == "seconds" else table.subject
        panels.append(plots.Lines(table.title, x_label, "relative error", curves))
    plots.save(panels, path)
