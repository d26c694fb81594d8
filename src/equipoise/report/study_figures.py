"""The figures of a study: one column of panels for each case."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from equipoise.report.style import curve_style, drawn, new_figure, save_figure, wrap
from equipoise.report.words import superscript_power
from equipoise.study.records import CaseRecord, Panel, Series

#: Height of a panel and of a line of its legend, in inches.
_PANEL, _LINE = 2.35, 0.17
#: Colour of points whose solves did not converge, and of curves for reference.
_UNSOLVED, _GRAY = "#C00000", "#6E6E6E"
_BOUND = "_bound"
_FAILED, _LIMITED = "a solve did not converge", "a choice at the limit of its search"
#: Decades below which an axis needs numbers between the powers of ten.
_NARROW = 1.7
#: Distance of the interval bars of two curves, relative to the width of a logarithmic axis.
_DODGE = 0.004


def case_figure(case: CaseRecord) -> Figure:
    """Draw the panels of one case below each other.

    Measured curves are solid with markers and intervals, bounds dashed in the colour of their
    curve, references dotted; a red cross marks a point behind which a solve did not converge, a
    ring one behind which a choice sits at the limit of its search.

    Args:
        case: with at least one panel.
    """
    labels = [_entries(panel) for panel in case.panels]
    # Panels with the same legend share that of the last one.
    named = [k + 1 == len(labels) or labels[k + 1] != labels[k] for k in range(len(labels))]
    lines = [_legend_lines(own) if shown else 0 for own, shown in zip(labels, named, strict=True)]
    heights = [_PANEL + _LINE * count for count in lines]
    figure = new_figure(sum(heights))
    axes = figure.subplots(len(case.panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel, own, shown in zip(axes, case.panels, labels, named, strict=True):
        _draw_panel(axis, panel)
        if shown:
            _draw_legend(axis, own)
    return figure


@drawn
def draw_case(case: CaseRecord) -> Figure:
    """:func:`case_figure` as a PNG data address."""
    return case_figure(case)


def save_case_figures(case: CaseRecord, stem: Path) -> list[Path]:
    """Write the figure of a case as ``stem.png`` and ``stem.svg``.

    Args:
        case: with at least one panel.
        stem: path without suffix; its folder must exist.

    Raises:
        OutputError: if a file cannot be written.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    save_figure(lambda: case_figure(case), paths)
    return paths


def _draw_panel(axis: Axes, panel: Panel) -> None:
    if panel.log_x:
        axis.set_xscale("log")
    if panel.log_y and any(value > 0 for curve in panel.series for value in _finite(curve.y)):
        axis.set_yscale("log")
    measured = [curve.name for curve in panel.series if curve.role == "measured"]
    for curve in panel.series:
        _draw_curve(axis, curve, measured)
    for ticks in (axis.xaxis, axis.yaxis):
        if ticks.get_scale() == "log":
            _label_ticks(ticks)
    kinds = sorted({str(curve.kind) for curve in panel.series if _owned_bound(curve, measured)})
    if kinds:
        label = f"bound ({', '.join(kinds)})"
        axis.plot([], [], "--", color=_GRAY, linewidth=1.2, label=label)
    rings = [point for curve in panel.series for point in _limited(curve)]
    if rings:
        xs, ys = zip(*rings, strict=True)
        axis.plot(xs, ys, "o", color=_GRAY, markersize=10, markerfacecolor="none", label=_LIMITED)
    crosses = [point for curve in panel.series for point in _unsolved(curve)]
    if crosses:
        xs, ys = zip(*crosses, strict=True)
        label = _FAILED
        axis.plot(xs, ys, "x", color=_UNSOLVED, markersize=9, markeredgewidth=1.8, label=label)
    axis.set_title(wrap(panel.title, 52), loc="left")
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)


def _draw_legend(axis: Axes, labels: list[str]) -> None:
    axis.legend(
        loc="upper center",
        bbox_to_anchor=(0.42, -0.24),
        ncols=_columns(labels),
        handlelength=2.6,
        columnspacing=1.2,
    )


def _label_ticks(ticks: Axis) -> None:
    """Powers of ten; plain numbers where there are too few of them to read the scale."""
    low, high = ticks.get_view_interval()
    if math.log10(high / low) >= _NARROW:
        ticks.set_major_formatter(lambda value, _: superscript_power(value))
        ticks.set_minor_formatter(NullFormatter())
        return
    ticks.set_major_formatter(lambda value, _: f"{value:g}")
    ticks.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else "")


def _draw_curve(axis: Axes, curve: Series, measured: list[str]) -> None:
    owner = curve.name.removesuffix(_BOUND)
    if curve.role == "reference" or (curve.role == "bound" and owner not in measured):
        colour = "#111111" if curve.role == "bound" else _GRAY
    else:
        colour = curve_style(measured.index(owner)).colour
    if curve.role == "bound":
        # The bounds of several curves share one entry of the legend.
        label = None if owner in measured else f"{curve.label} ({curve.kind})"
        axis.plot(curve.x, curve.y, "--", color=colour, linewidth=1.2, label=label)
        return
    marker = "." if curve.role == "reference" else curve_style(measured.index(owner)).marker
    line = ":" if curve.role == "reference" else "-"
    axis.plot(
        curve.x, curve.y, line, color=colour, marker=marker, markersize=4.5, label=curve.label
    )
    if curve.low and curve.high:
        place = measured.index(owner) if owner in measured else len(measured)
        axis.vlines(_dodged(axis, curve.x, place), curve.low, curve.high, color=colour, lw=1.1)


def _dodged(axis: Axes, x: tuple[float, ...], place: int) -> tuple[float, ...]:
    """Abscissae of the bars of the n-th curve, a little aside so that bars do not hide others."""
    if axis.get_xscale() != "log" or len(x) < 2:
        return x
    step = (max(x) / min(x)) ** _DODGE
    return tuple(value * step**place for value in x)


def _owned_bound(curve: Series, measured: list[str]) -> bool:
    return curve.role == "bound" and curve.name.removesuffix(_BOUND) in measured


def _unsolved(curve: Series) -> list[tuple[float, float]]:
    points = zip(curve.x, curve.y, curve.solved, strict=True)
    return [(x, y) for x, y, solved in points if not solved and math.isfinite(y)]


def _limited(curve: Series) -> list[tuple[float, float]]:
    marks = curve.limited or (False,) * len(curve.x)
    points = zip(curve.x, curve.y, marks, strict=True)
    return [(x, y) for x, y, limited in points if limited and math.isfinite(y)]


def _finite(values: tuple[float, ...]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _entries(panel: Panel) -> list[str]:
    """Labels of the legend."""
    measured = [curve.name for curve in panel.series if curve.role == "measured"]
    own = [curve for curve in panel.series if not _owned_bound(curve, measured)]
    labels = [c.label + f" ({c.kind})" * (c.role == "bound") for c in own]
    labels += ["bound (PROVED)"] * (len(own) < len(panel.series))
    labels += [_LIMITED] * any(_limited(c) for c in panel.series)
    return labels + [_FAILED] * any(_unsolved(c) for c in panel.series)


def _columns(labels: list[str]) -> int:
    return 2 if max(map(len, labels)) <= 21 else 1


def _legend_lines(labels: list[str]) -> int:
    return math.ceil(len(labels) / _columns(labels)) + 1
