"""Dots and intervals in dB: gain over the degraded input, paired differences to the reference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from equipoise.compare.records import Array, Interval
from equipoise.report.differences import paired_difference
from equipoise.report.groups import Group, finite_interval
from equipoise.report.style import Style, Styles, drawn, new_figure, wrap
from equipoise.report.words import has_interval, signed

_ROW = 0.42
_LABEL = 19


@drawn
def draw_gains(title: str, groups: list[Group], styles: Styles) -> Figure:
    """Draw the PSNR gain over the degraded input: mean, interval and every photograph."""
    figure = new_figure(0.85 + _ROW * len(groups))
    axes = figure.subplots()
    for row, group in enumerate(groups):
        gains = group.gain()
        _row(axes, row, gains, finite_interval(gains), styles[group.key])
    _finish(axes, groups, "PSNR gain over the degraded input in dB")
    axes.set_title(title, loc="left")
    return figure


@drawn
def draw_differences(reference: Group, others: list[Group], styles: Styles) -> Figure:
    """Draw PSNR minus the reference's PSNR, a dot for each photograph, with the interval."""
    figure = new_figure(0.85 + _ROW * len(others))
    axes = figure.subplots()
    for row, group in enumerate(others):
        difference = paired_difference(group, reference)
        if difference is not None:
            _row(axes, row, difference.values, difference.interval, styles[group.key])
    axes.axvline(0.0, color="#333333", linewidth=1.0)
    _finish(axes, others, "PSNR minus the reference's in dB")
    axes.set_title(wrap(f"reference: {reference.label}", 44), loc="left")
    return figure


def _row(axes: Axes, row: int, values: Array, interval: Interval, style: Style) -> None:
    """Draw small open dots for the photographs, and the mean with its interval above them."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    mean = float(np.mean(values))
    axes.plot(
        values,
        np.full(len(values), row + 0.2),
        linestyle="none",
        marker="o",
        markersize=4,
        markerfacecolor="none",
        markeredgecolor=style.colour,
        markeredgewidth=0.9,
    )
    if has_interval(interval):
        axes.plot([interval.low, interval.high], [row, row], color=style.colour, linewidth=2.2)
    axes.plot([mean], [row], marker=style.marker, color=style.colour, markersize=6.5)
    axes.annotate(
        signed(mean),
        (mean, row),
        xytext=(0, 5),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )


def _finish(axes: Axes, groups: list[Group], quantity: str) -> None:
    axes.set_yticks(range(len(groups)), [wrap(group.label, _LABEL) for group in groups])
    axes.set_ylim(len(groups) - 0.4, -0.7)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    axes.set_xlabel(quantity)
