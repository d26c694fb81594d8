"""Curves: training against time, residual against evaluations, learned profile functions."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from equipoise.compare.records import Array
from equipoise.report.groups import Group
from equipoise.report.style import Style, Styles, drawn, new_figure, wrap
from equipoise.report.words import superscript_power

_HEIGHT = 2.5
_LEGEND_ROW = 0.2

#: Share of the log lines over which a noisy curve is averaged.
_SMOOTHING = 0.05


@drawn
def draw_losses(groups: list[Group], styles: Styles) -> Figure:
    """Draw the training loss against training seconds, smoothed by a running mean."""
    figure, axes = _start(groups)
    for group in groups:
        for run in group.runs:
            if run.curve is not None:
                seconds, loss = _finite(run.curve.seconds, run.curve.loss)
                _line(axes, *running_mean(seconds, loss), styles[group.key])
    _logarithmic(axes, "y")
    return _label(figure, axes, groups, styles, "training seconds", "training loss")


@drawn
def draw_validation(groups: list[Group], styles: Styles) -> Figure:
    """Draw the PSNR on the validation photographs against training seconds."""
    figure, axes = _start(groups)
    for group in groups:
        for run in group.runs:
            if run.curve is not None:
                seconds, psnr = _finite(run.curve.seconds, run.curve.psnr)
                _line(axes, seconds, psnr, styles[group.key])
    return _label(figure, axes, groups, styles, "training seconds", "validation PSNR in dB")


@drawn
def draw_residuals(groups: list[Group], styles: Styles) -> Figure:
    """Draw the relative residual against evaluations, with the tolerance that was asked for."""
    figure, axes = _start(groups)
    for group in groups:
        evaluations, residual = _finite(*group.runs[0].trace)
        positive = residual > 0
        _line(axes, evaluations[positive], residual[positive], styles[group.key])
    _logarithmic(axes, "y")
    for tolerance in {group.summary.tolerance for group in groups}:
        if tolerance > 0:
            axes.axhline(tolerance, color="#333333", linewidth=0.9, linestyle=(0, (2, 2)))
    spans = [np.max(group.runs[0].trace[0], initial=1.0) for group in groups]
    if max(spans) > 20 * min(spans):
        axes.set_xscale("log")
        _logarithmic(axes, "x")
    return _label(figure, axes, groups, styles, "evaluations of the field", "relative residual")


@drawn
def draw_potentials(group: Group, styles: Styles) -> Figure:
    """Draw every learned profile function of one method."""
    figure = new_figure(2.3)
    axes = figure.subplots()
    assert group.runs[0].potentials is not None
    t, curves = group.runs[0].potentials
    opacity = max(0.15, min(1.0, 6 / max(1, len(curves))))
    for curve in curves:
        axes.plot(t, curve, color=styles[group.key].colour, linewidth=1.0, alpha=opacity)
    axes.set_xlabel("filter response t")
    axes.set_ylabel("learned profile")
    axes.set_title(wrap(group.label, 44), loc="left")
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


def _start(groups: list[Group]) -> tuple[Figure, Axes]:
    rows = sum(1 + wrap(group.label, 44).count("\n") for group in groups)
    figure = new_figure(_HEIGHT + _LEGEND_ROW * rows)
    return figure, figure.subplots()


def _finite(x: Array, y: Array) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    keep = np.isfinite(x) & np.isfinite(y)
    return x[keep], y[keep]


def _line(axes: Axes, x: Array, y: Array, style: Style) -> None:
    """Draw one curve with about eight markers, so that it is told apart without colour."""
    axes.plot(
        x,
        y,
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markersize=4,
        markevery=max(1, len(x) // 8),
    )


def _logarithmic(axes: Axes, name: str) -> None:
    """Use powers of ten if every value drawn is positive and they span more than a factor 3."""
    axis = axes.yaxis if name == "y" else axes.xaxis
    data = [line.get_ydata() if name == "y" else line.get_xdata() for line in axes.lines]
    values = np.concatenate([np.asarray(d, dtype=np.float64) for d in data] or [np.empty(0)])
    if len(values) == 0 or values.min() <= 0 or values.max() < 3 * values.min():
        return
    (axes.set_yscale if name == "y" else axes.set_xscale)("log")
    decades = math.log10(values.max() / values.min())
    axis.set_major_formatter(FuncFormatter(lambda value, _: superscript_power(value)))
    axis.set_minor_formatter(NullFormatter())
    if decades < 1.5:
        axis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
        axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))


def _label(
    figure: Figure, axes: Axes, groups: list[Group], styles: Styles, x: str, y: str
) -> Figure:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    chosen = [styles[group.key] for group in groups]
    handles = [
        Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, markersize=4)
        for s in chosen
    ]
    labels = [wrap(group.label, 44) for group in groups]
    figure.legend(handles, labels, loc="outside lower left", handlelength=3.4, labelspacing=0.3)
    return figure
