"""Dots and intervals in dB: gain over the degraded input, paired differences to the reference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from equipoise.compare.records import Array, Comparison, Interval
from equipoise.report.differences import paired_difference
from equipoise.report.figures.sheet import Drawing, name_rows, new_axes, note, png, wrap
from equipoise.report.figures.style import Style, Styles
from equipoise.report.groups import Group, finite_interval, group_runs
from equipoise.report.words import has_interval, signed, task_noun

_ROW = 0.42
_LABEL = 19


def gains(comparison: Comparison, styles: Styles) -> list[Drawing]:
    """Show the gain of all methods over the degraded input, one figure a task."""
    drawings = []
    for task in comparison.tasks:
        groups = [group for group in group_runs(task) if group.photographs]
        if groups:
            noun = task_noun(task.task)
            said = ", ".join(f"{g.label} {signed(float(np.mean(g.gain())))} dB" for g in groups)
            alt = f"PSNR gain over the degraded input, {noun}: {said}"
            caption = f"PSNR gain over the degraded input: {noun}."
            drawings.append(Drawing(png(gains_figure, noun, groups, styles), alt, caption))
    return drawings


def differences(reference: Group, others: list[Group], styles: Styles) -> list[Drawing]:
    """Show paired differences to the reference: learned methods, then tuned baselines."""
    drawings = []
    for what, trained in (("learned methods", True), ("tuned baselines", False)):
        chosen = [group for group in others if group.trained is trained]
        if chosen:
            labels = ", ".join(group.label for group in chosen)
            alt = f"Paired PSNR differences to {reference.label} for {labels}"
            caption = f"{reference.label} against {what}."
            address = png(differences_figure, reference, chosen, styles)
            drawings.append(Drawing(address, alt, caption))
    return drawings


def gains_figure(title: str, groups: list[Group], styles: Styles) -> Figure:
    """Draw the PSNR gain over the degraded input: mean, interval and every photograph."""
    figure, axes = new_axes(0.85 + _ROW * len(groups))
    for row, group in enumerate(groups):
        gains = group.gain()
        _row(axes, row, gains, finite_interval(gains), styles[group.key])
    _finish(axes, groups, "PSNR gain over the degraded input in dB")
    axes.set_title(title, loc="left")
    return figure


def differences_figure(reference: Group, others: list[Group], styles: Styles) -> Figure:
    """Draw PSNR minus the reference's PSNR, a dot for each photograph, with the interval."""
    figure, axes = new_axes(0.85 + _ROW * len(others))
    for row, group in enumerate(others):
        difference = paired_difference(group, reference)
        if difference is not None:
            _row(axes, row, difference.values, difference.interval, styles[group.key])
    axes.axvline(0.0, color="#333333", linewidth=1.0)
    _finish(axes, others, "PSNR minus the reference's in dB")
    axes.set_title(wrap(f"reference: {reference.label}"), loc="left")
    return figure


def _row(axes: Axes, row: int, values: Array, interval: Interval, style: Style) -> None:
    """Draw small open dots for the photographs, and the mean with its interval above them."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    mean = float(np.mean(values))
    heights = np.full(len(values), row + 0.2)
    (dots,) = axes.plot(values, heights, "o", color=style.colour, markersize=4)
    dots.set(fillstyle="none", markeredgewidth=0.9)
    if has_interval(interval):
        axes.plot([interval.low, interval.high], [row, row], color=style.colour, linewidth=2.2)
    axes.plot([mean], [row], marker=style.marker, color=style.colour, markersize=6.5)
    note(axes, signed(mean), (mean, row), (0, 5), "center")


def _finish(axes: Axes, groups: list[Group], quantity: str) -> None:
    name_rows(axes, [wrap(group.label, _LABEL) for group in groups], top=-0.7)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    axes.set_xlabel(quantity)
