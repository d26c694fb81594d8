"""The figures of a study: one column of panels for each case."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from equipoise.report.figures.pictures import picture
from equipoise.report.figures.sheet import (
    Drawing,
    new_figure,
    png,
    powers_of_ten,
    save_figure,
    wrap,
)
from equipoise.report.figures.style import Style, curve_style
from equipoise.study.records import CaseRecord, Panel, Picture, Series

#: Height of a panel and of a line of its legend, in inches.
_PANEL, _LINE = 2.35, 0.17
#: Colour of points whose solves did not converge, and of curves for reference.
_CROSS, _GRAY = "#C00000", "#6E6E6E"
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
    figure = new_figure(_PANEL)
    axes = figure.subplots(len(case.panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, case.panels, strict=True):
        _draw_panel(axis, panel)
    labels = [axis.get_legend_handles_labels()[1] for axis in axes]
    heights = []
    for axis, own, below in zip(axes, labels, [*labels[1:], None], strict=True):
        # Panels with the same legend share that of the last one.
        lines = 0
        if own != below:
            columns = 2 if max(map(len, own), default=0) <= 21 else 1
            lines = math.ceil(len(own) / columns) + 1
            axis.legend(
                loc="upper center", bbox_to_anchor=(0.42, -0.24), ncols=columns, handlelength=2.6,
                columnspacing=1.2,
            )  # fmt: skip
        heights.append(_PANEL + _LINE * lines)
    figure.set_figheight(sum(heights))
    axes[0].get_gridspec().set_height_ratios(heights)
    return figure


def case_drawing(case: CaseRecord) -> Drawing:
    """The figure of one case, which has at least one panel, for the page."""
    alt = f"{case.title}: " + "; ".join(panel.title for panel in case.panels)
    solves = f"{case.solves - case.unsolved} of {case.solves} solves converged."
    return Drawing(png(case_figure, case), alt, solves)


def shot_drawing(shot: Picture) -> Drawing:
    """A gray image for the page, on its own scale."""
    width = shot.high - shot.low
    values = (shot.values - shot.low) / (width if width > 0 else 1.0)
    return Drawing(picture(values), shot.title, shot.title)


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
    if panel.log_y and any(math.inf > value > 0 for curve in panel.series for value in curve.y):
        axis.set_yscale("log")
    measured = [curve.name for curve in panel.series if curve.role == "measured"]
    for curve in panel.series:
        _draw_curve(axis, curve, measured)
    for ticks in (axis.xaxis, axis.yaxis):
        if ticks.get_scale() == "log":
            _label_ticks(ticks)
    bounds = [curve for curve in panel.series if curve.role == "bound"]
    kinds = sorted({str(c.kind) for c in bounds if c.name.removesuffix(_BOUND) in measured})
    if kinds:
        label = f"bound ({', '.join(kinds)})"
        axis.plot([], [], "--", color=_GRAY, linewidth=1.2, label=label)
    rings = _marked(panel, lambda curve: curve.limited)
    if rings:
        x, y = zip(*rings, strict=True)
        axis.plot(x, y, "o", color=_GRAY, markersize=10, markerfacecolor="none", label=_LIMITED)
    crosses = _marked(panel, lambda curve: [not solved for solved in curve.solved])
    if crosses:
        x, y = zip(*crosses, strict=True)
        axis.plot(x, y, "x", color=_CROSS, markersize=9, markeredgewidth=1.8, label=_FAILED)
    axis.set_title(wrap(panel.title, 52), loc="left")
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)


def _label_ticks(ticks: Axis) -> None:
    """Powers of ten; plain numbers where there are too few of them to read the scale."""
    low, high = ticks.get_view_interval()
    if math.log10(high / low) >= _NARROW:
        powers_of_ten(ticks)
        return
    ticks.set_major_formatter(lambda value, _: f"{value:g}")
    ticks.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else "")


def _draw_curve(axis: Axes, curve: Series, measured: list[str]) -> None:
    owner = curve.name.removesuffix(_BOUND)
    place = measured.index(owner) if owner in measured else len(measured)
    if curve.role == "bound":
        colour = curve_style(place).colour if owner in measured else "#111111"
        # The bounds of several curves share one entry of the legend.
        label = None if owner in measured else f"{curve.label} ({curve.kind})"
        axis.plot(curve.x, curve.y, "--", color=colour, linewidth=1.2, label=label)
        return
    reference = curve.role == "reference"
    style = Style(_GRAY, ".", ":") if reference else replace(curve_style(place), line="-")
    axis.plot(curve.x, curve.y, **style.look, markersize=4.5, label=curve.label)
    if curve.low and curve.high:
        x = _dodged(axis, curve.x, place)
        axis.vlines(x, curve.low, curve.high, color=style.colour, lw=1.1)


def _dodged(axis: Axes, x: tuple[float, ...], place: int) -> tuple[float, ...]:
    """Abscissae of the bars of the n-th curve, a little aside so that bars do not hide others."""
    if axis.get_xscale() != "log" or len(x) < 2:
        return x
    step = (max(x) / min(x)) ** _DODGE
    return tuple(value * step**place for value in x)


def _marked(panel: Panel, marks: Callable[[Series], Sequence[bool]]) -> list[tuple[float, float]]:
    """The points of all curves that are marked; a curve without marks has none."""
    points = (p for c in panel.series for p in zip(c.x, c.y, marks(c), strict=False))
    return [(x, y) for x, y, marked in points if marked and math.isfinite(y)]
