"""Curves: training against time, residual against evaluations, learned profile functions."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from equipoise.compare.records import Array
from equipoise.report.figures.pictures import FILTERS_SHOWN, filter_sheet
from equipoise.report.figures.sheet import Drawing, new_axes, png, powers_of_ten, wrap
from equipoise.report.figures.style import Style, Styles
from equipoise.report.groups import Group
from equipoise.report.words import number, signed, significant

_HEIGHT = 2.5
_LEGEND_ROW = 0.2

#: Share of the log lines over which a noisy curve is averaged.
_SMOOTHING = 0.05


def training_and_solving(groups: list[Group], styles: Styles) -> list[Drawing]:
    """Show how the methods of a task were trained, and how they solve the first photograph."""
    drawings = []
    trained = [group for group in groups if group.curves]
    if trained:
        labels = ", ".join(group.label for group in trained)
        alt = f"Training loss against training seconds for {labels}"
        caption = "Training loss (running mean over 5 % of the log) against training time."
        drawings.append(Drawing(png(training_figure, trained, styles, "loss"), alt, caption))
        last = ", ".join(f"{g.label} {number(_last_psnr(g))} dB" for g in trained)
        alt = f"Validation PSNR against training seconds; at the end {last}"
        caption = "PSNR on the validation photographs against training time."
        drawings.append(Drawing(png(training_figure, trained, styles, "psnr"), alt, caption))
    traced = [group for group in groups if len(group.runs[0].trace[0])]
    if traced:
        last = ", ".join(f"{g.label} {significant(float(g.runs[0].trace[1][-1]))}" for g in traced)
        alt = f"Relative residual against evaluations; at the end {last}"
        caption = (
            "Relative residual of the first test photograph against evaluations; dashed: the"
            " tolerance."
        )
        drawings.append(Drawing(png(residuals_figure, traced, styles), alt, caption))
    return drawings


def learned(groups: list[Group], styles: Styles) -> list[list[Drawing]]:
    """Show the filters and the profile functions of each method that learned some."""
    stacks = []
    for group in groups:
        run, stack = group.runs[0], []
        if run.filters is not None and len(run.filters):
            sheet = filter_sheet(run.filters, run.synthesis_filters)
            alt = f"Learned filters of {group.label}"
            stack.append(Drawing(sheet, alt, _filters_caption(group, len(run.filters))))
        if run.potentials is not None and len(run.potentials[1]):
            curves = run.potentials[1]
            low, high = signed(float(curves.min())), signed(float(curves.max()))
            alt = f"{len(curves)} learned profile functions of {group.label}, {low} to {high}"
            caption = (
                f"{group.label}: learned profile functions (the potential where the field is a"
                " gradient, the activation otherwise)."
            )
            stack.append(Drawing(png(potentials_figure, group, styles), alt, caption))
        if stack:
            stacks.append(stack)
    return stacks


def training_figure(
    groups: list[Group], styles: Styles, quantity: Literal["loss", "psnr"]
) -> Figure:
    """Draw the training loss, smoothed, or the validation PSNR against training seconds."""
    label = {"loss": "training loss", "psnr": "validation PSNR in dB"}[quantity]
    figure, axes = _start(groups, styles, "training seconds", label)
    for group in groups:
        for curve in group.curves:
            x, y = _finite(curve.seconds, getattr(curve, quantity))
            _line(axes, *(running_mean(x, y) if quantity == "loss" else (x, y)), styles[group.key])
    if quantity == "loss":
        _logarithmic(axes)
    return figure


def residuals_figure(groups: list[Group], styles: Styles) -> Figure:
    """Draw the relative residual against evaluations, with the tolerance that was asked for."""
    figure, axes = _start(groups, styles, "evaluations of the field", "relative residual")
    for group in groups:
        evaluations, residual = _finite(*group.runs[0].trace)
        positive = residual > 0
        _line(axes, evaluations[positive], residual[positive], styles[group.key])
    _logarithmic(axes)
    for tolerance in {group.summary.tolerance for group in groups}:
        if tolerance > 0:
            axes.axhline(tolerance, color="#333333", linewidth=0.9, linestyle=(0, (2, 2)))
    spans = [np.max(group.runs[0].trace[0], initial=1.0) for group in groups]
    if max(spans) > 20 * min(spans):
        axes.set_xscale("log")
        powers_of_ten(axes.xaxis)
    return figure


def potentials_figure(group: Group, styles: Styles) -> Figure:
    """Draw every learned profile function of one method."""
    figure, axes = new_axes(2.3)
    assert group.runs[0].potentials is not None
    t, curves = group.runs[0].potentials
    opacity = max(0.15, min(1.0, 6 / max(1, len(curves))))
    for curve in curves:
        axes.plot(t, curve, color=styles[group.key].colour, linewidth=1.0, alpha=opacity)
    axes.set_xlabel("filter response t")
    axes.set_ylabel("learned profile")
    axes.set_title(wrap(group.label), loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def running_mean(x: Array, y: Array) -> tuple[Array, Array]:
    """Average y over a window of 5 % of its entries (at least one), where the window fits.

    Args:
        x: abscissae, shape (n,).
        y: values, shape (n,).

    Returns:
        The window's mean abscissae and values, shape (n - window + 1,).
    """
    window = max(1, round(_SMOOTHING * len(y)))
    if len(y) == 0:
        return x, y
    weights = np.full(window, 1 / window)
    return np.convolve(x, weights, "valid"), np.convolve(y, weights, "valid")


def _filters_caption(group: Group, count: int) -> str:
    shown = min(count, FILTERS_SHOWN)
    what = f"{shown} of {count} filters" if shown < count else f"{shown} filters"
    if group.runs[0].synthesis_filters is None:
        return f"{group.label}: {what}, strongest first, each on its own gray scale."
    return (
        f"{group.label}: {what}, strongest first; in each pair W1 left and W2 right on one"
        " gray scale, so a tied pair would show twice the same."
    )


def _last_psnr(group: Group) -> float:
    measured = [float(psnr) for psnr in group.curves[0].psnr if np.isfinite(psnr)]
    return measured[-1] if measured else math.nan


def _start(groups: list[Group], styles: Styles, x: str, y: str) -> tuple[Figure, Axes]:
    """A figure that says what its axes are and how each method is drawn."""
    labels = [wrap(group.label) for group in groups]
    rows = sum(1 + label.count("\n") for label in labels)
    figure, axes = new_axes(_HEIGHT + _LEGEND_ROW * rows)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    handles = [Line2D([], [], **styles[group.key].look, markersize=4) for group in groups]
    figure.legend(handles, labels, loc="outside lower left", handlelength=3.4, labelspacing=0.3)
    return figure, axes


def _finite(x: Array, y: Array) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    keep = np.isfinite(x) & np.isfinite(y)
    return x[keep], y[keep]


def _line(axes: Axes, x: Array, y: Array, style: Style) -> None:
    """Draw one curve with about eight markers, so that it is told apart without colour."""
    axes.plot(x, y, **style.look, markersize=4, markevery=max(1, len(x) // 8))


def _logarithmic(axes: Axes) -> None:
    """Use powers of ten if every ordinate is positive and they span more than a factor 3."""
    low, high = axes.yaxis.get_data_interval()
    if not 0 < low <= high / 3:
        return
    axes.set_yscale("log")
    powers_of_ten(axes.yaxis)
    if math.log10(high / low) < 1.5:
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
