"""All tables, of pages and terminal: what each column is called and how its cells are written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from equipoise.compare.records import ImageScore, Interval, RunSummary, TaskResult
from equipoise.report.differences import paired_difference
from equipoise.report.groups import Group, finite_interval, group_runs
from equipoise.report.statements import decibels
from equipoise.report.words import (
    MISSING,
    count,
    has_interval,
    interval_text,
    number,
    percent,
    quantity,
    seconds,
    signed,
    significant,
)
from equipoise.study.records import Number

Row = TypeVar("Row")

#: Head -> text of the cell of a row; a line break starts a new line.
Columns = dict[str, Callable[[Row], str]]


class Table(NamedTuple):
    """A caption, the heads of the columns, and the cells of each row."""

    caption: str
    heads: list[str]
    rows: list[list[str]]


def fill(caption: str, columns: Columns[Row], items: Iterable[Row]) -> Table:
    """Write a table with one row of cells for each item."""
    rows = [[cell(item) for cell in columns.values()] for item in items]
    return Table(caption, list(columns), rows)


def quality(groups: list[Group]) -> Table:
    """Tabulate PSNR and SSIM, their intervals, and differences to the input and the baselines."""
    baselines = [group for group in groups if not group.trained]
    columns: Columns[Group] = {
        "Method": lambda g: g.label,
        "Parameters": lambda g: count(g.summary.parameters),
        "PSNR, dB": lambda g: _over(number(g.mean("psnr_mean")), g.interval("psnr")),
        "Gain over input, dB": _gain,
        **{f"Minus {b.label}, dB": partial(_difference, b) for b in baselines},
        "SSIM": lambda g: _over(number(g.mean("ssim_mean"), 3), g.interval("ssim"), 3),
        "n": lambda g: str(len(g.photographs)),
    }
    seeds = max(len(group.runs) for group in groups)
    caption = "Quality: means over test photographs; below them 95 % bootstrap intervals."
    if seeds > 1:
        caption += f" Methods with several seeds (up to {seeds}): means over the seeds as well."
    if any(not has_interval(group.interval("psnr")) for group in groups):
        caption += " Where none stands below, no interval can be given."
    table = fill(caption, columns, groups)
    first, names = groups[0], groups[0].photographs
    psnr = finite_interval(first.scores("psnr_input", names))
    ssim = finite_interval(first.scores("ssim_input", names))
    given = [
        "Degraded input",
        MISSING,
        _over(number(first.summary.psnr_input), psnr),
        *[MISSING] * (1 + len(baselines)),
        _over(number(first.summary.ssim_input, 3), ssim, 3),
        str(len(names)),
    ]
    table.rows.insert(0, given)
    return table


def cost(groups: list[Group]) -> Table:
    """Tabulate what each method costs, whether it converged, and what is known of its field."""
    limit = " (limit)"
    columns: Columns[Group] = {
        "Method": lambda g: g.label,
        "Steps": lambda g: count(g.mean("steps")),
        "Training, s": lambda g: seconds(g.mean("train_seconds")),
        "Recon\u00adstruction, s": lambda g: seconds(g.mean("reconstruct_seconds")),
        "Forward evaluations": lambda g: count(g.mean("forward_evaluations")),
        "Adjoint evaluations": lambda g: count(g.mean("adjoint_evaluations")),
        "Converged": lambda g: percent(g.mean("converged_fraction")),
        "Symmetry defect": _defect,
        "α": lambda g: significant(g.summary.alpha, 3) + limit * g.summary.alpha_at_limit,
        "What can be certified": lambda g: g.summary.certificate or MISSING,
    }
    caption = (
        "Cost and guarantees. Symmetry defect: estimate and standard error; 0 for a gradient"
        f" field. {MISSING}: not measured or does not apply."
    )
    if any(group.summary.alpha_at_limit for group in groups):
        caption += f" α{limit}: its search ended at its limit, and a better one may lie beyond."
    return fill(caption, columns, groups)


def seeds(groups: list[Group]) -> Table | None:
    """Tabulate the runs of every seed; None where no method has several."""
    if all(len(group.runs) == 1 for group in groups):
        return None
    columns: Columns[RunSummary] = {
        "Method": lambda s: s.label,
        "Seed": lambda s: str(s.seed),
        "PSNR, dB": lambda s: number(s.psnr_mean),
        "SSIM": lambda s: number(s.ssim_mean, 4),
        "Training, s": lambda s: seconds(s.train_seconds),
        "Symmetry defect": lambda s: significant(s.symmetry_defect),
    }
    summaries = (run.summary for group in groups for run in group.runs)
    return fill("Every training seed.", columns, summaries)


def photographs(groups: list[Group]) -> Table:
    """Tabulate every photograph's numbers for the first seed of each method."""
    columns: Columns[tuple[Group, ImageScore]] = {
        "Method": lambda row: row[0].label,
        "Photograph": lambda row: row[1].name,
        "PSNR, dB": lambda row: number(row[1].psnr),
        "SSIM": lambda row: number(row[1].ssim, 4),
        "Relative residual": lambda row: significant(row[1].residual),
        "Error per pixel, at most": lambda row: quantity(row[1].error_bound, 2),
        "Evaluations": lambda row: count(row[1].evaluations),
        "Status": lambda row: row[1].status,
    }
    caption = (
        "Every photograph. Error per pixel: proved distance to the exact equilibrium, where the"
        " equation is strongly monotone, as the root mean square of the pixels (white is 1);"
        f" {MISSING} where none below 1 is proved."
    )
    return fill(caption, columns, ((g, score) for g in groups for score in g.summary.images))


def certified(groups: list[Group]) -> Table | None:
    """Tabulate each certificate for the first test photograph and the first seed, if any."""
    shown = [group for group in groups if group.summary.certificates]
    if not shown:
        return None
    columns: Columns[Group] = {
        "Method": lambda g: g.label,
        "Modulus m": lambda g: _certified(g, "strong_monotonicity"),
        "Lipschitz constant of R": lambda g: (
            f"{_certified(g, 'lipschitz_lower')} to\n{_certified(g, 'lipschitz_upper')}"
        ),
        "Stability": lambda g: (
            f"x: {_certified(g, 'stability_norm')}\nAx: {_certified(g, 'stability_data')}"
        ),
        "Distance to equilibrium ≤": lambda g: _certified(g, "distance_upper"),
        "PSNR ≤, no noise, dB": lambda g: _certified(g, "error_floor", _psnr),
        "PSNR ≤, this noise, dB": lambda g: _certified(g, "error_lower_bound", _psnr),
        "PSNR ≥, this noise, dB": lambda g: _certified(g, "error_upper_bound", _psnr),
        "PSNR measured, dB": lambda g: number(g.summary.images[0].psnr),
        "Symmetry defect": lambda g: _certified(g, "symmetry_defect"),
    }
    caption = (
        f"What can be certified, for the photograph {shown[0].summary.images[0].name}; numbers"
        f" are PROVED unless marked est. (ESTIMATED). {MISSING}: a hypothesis fails, and nothing"
        " is claimed."
    )
    return fill(caption, columns, shown)


def short(task: TaskResult) -> Table:
    """Tabulate the methods of a task for the terminal."""
    columns: Columns[Group] = {
        "Method": lambda g: g.label,
        "Param.": lambda g: count(g.summary.parameters),
        "PSNR": lambda g: number(g.mean("psnr_mean")),
        "95 %": lambda g: interval_text(g.interval("psnr"), 1).replace(" to ", "–"),
        "SSIM": lambda g: number(g.mean("ssim_mean"), 3),
        "Train": lambda g: seconds(g.mean("train_seconds")),
        "Solve": lambda g: seconds(g.mean("reconstruct_seconds")),
        "Conv.": lambda g: percent(g.mean("converged_fraction")),
        "Defect": lambda g: significant(g.defect),
    }
    groups = group_runs(task)
    caption = f"{task.task}: {task.description} Times in seconds, PSNR in dB."
    table = fill(caption, columns, groups)
    if groups:
        first = groups[0].summary
        given = ["Degraded input", "", number(first.psnr_input), "", number(first.ssim_input, 3)]
        table.rows.insert(0, given)
    return table


def numbers(caption: str, items: Iterable[Number]) -> Table:
    """Tabulate numbers of a study."""
    columns: Columns[Number] = {
        "Quantity": lambda n: n.title,
        "Value": lambda n: quantity(n.value, 3),
        "Interval": _ends,
        "Theory": lambda n: quantity(n.theory, 3),
        "Standing": lambda n: str(n.kind),
        "Solves": lambda n: n.status.lower().replace("_", " ") or MISSING,
    }
    return fill(caption, columns, items)


def mapping(caption: str, heads: tuple[str, str], values: Mapping[str, object]) -> Table:
    """Tabulate names and values; nested settings get a dotted name."""
    return Table(caption, list(heads), list(_flatten("", values)))


def _flatten(prefix: str, values: Mapping[str, object]) -> Iterator[list[str]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            as_json = json.dumps(value, ensure_ascii=False, default=str)
            yield [f"{prefix}{name}", value if isinstance(value, str) else as_json]


def _defect(group: Group) -> str:
    """The symmetry defect with its standard error, or an exact 0."""
    if group.defect == 0.0:
        return "0"
    text, error = significant(group.defect), group.defect_error
    return f"{text} ± {significant(error, 1)}" if text != MISSING and error > 0 else text


def _over(mean: str, interval: Interval, decimals: int = 2) -> str:
    """Write a mean above its interval, if there is one."""
    text = interval_text(interval, decimals)
    return mean if text == MISSING else f"{mean}\n{text}"


def _gain(group: Group) -> str:
    gain = group.gain()
    return _over(signed(float(gain.mean())), finite_interval(gain)) if len(gain) else MISSING


def _difference(baseline: Group, group: Group) -> str:
    difference = None if group is baseline else paired_difference(group, baseline)
    return MISSING if difference is None else _over(signed(difference.mean), difference.interval)


def _certified(
    group: Group, name: str, write: Callable[[float, Group], str] = lambda value, _: quantity(value)
) -> str:
    """A number of a method's certificate; infinity stands there as text."""
    found = {s["name"]: s for s in group.summary.certificates}.get(name)
    if found is None or found["value"] is None or not found["holds"]:
        return MISSING
    return write(float(found["value"]), group) + " (est.)" * (found["kind"] == "ESTIMATED")


def _psnr(error: float, group: Group) -> str:
    entries = group.runs[0].reconstructions[group.summary.images[0].name].size
    return number(decibels(error, entries)) if 0 < error < math.inf else "no limit"


def _ends(measured: Number) -> str:
    if measured.low is None or measured.high is None or math.isnan(measured.low):
        return MISSING
    return f"[{quantity(measured.low, 3)}, {quantity(measured.high, 3)}]"
