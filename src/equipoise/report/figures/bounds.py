"""Figures of a certificate, where one would rather look than read."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from equipoise.certify.statement import Certificate
from equipoise.report.figures.sheet import Drawing, name_rows, new_axes, note, png, powers_of_ten
from equipoise.report.statements import decibels
from equipoise.report.words import number, quantity

_CONSTANTS = {"operator_norm": "norm of A", "lipschitz": "Lipschitz\nconstant of R"}
_PROVED, _ESTIMATED, _MEASURED = "#0072B2", "#E69F00", "#111111"


class Mark(NamedTuple):
    """A number in a figure.

    Args:
        label: what it is, on one line or several.
        value: where it is drawn.
        colour: says whether it is PROVED, ESTIMATED or measured.
    """

    label: str
    value: float
    colour: str


def at_a_glance(certificate: Certificate, error: float, entries: int) -> list[Drawing]:
    """Show where constants and the PSNR lie and how fast an iteration is, as far as is known.

    Args:
        certificate: what is known.
        error: ``||x - truth||``, as measured.
        entries: numbers in the image, for the PSNR.
    """
    drawings = []
    constants = _brackets(certificate)
    if constants:
        said = "; ".join(
            f"{low.label} {quantity(low.value)} to {quantity(high.value)}"
            for low, high in constants
        )
        caption = (
            "The truth lies between the marks. Filled: PROVED; open: ESTIMATED, from inputs that"
            " were tried."
        )
        alt = f"Constants: {said}".replace("\n", " ")
        drawings.append(Drawing(png(brackets_figure, constants), alt, caption))
    rows = _errors(certificate, error, entries)
    if len(rows) > 1:
        said = ", ".join(f"{row.label} {number(row.value)} dB" for row in rows)
        alt, caption = f"PSNR: {said}", "PSNR of the restored photograph in dB."
        drawings.append(Drawing(png(errors_figure, rows), alt.replace("\n", " "), caption))
    factor = _mark(certificate, "contraction_factor", "factor")
    if factor is not None and factor.value < 1:
        said = quantity(factor.value)
        alt = f"Worst-case error of the iteration: factor {said} a step"
        caption = (
            "Worst case of the fixed-point iteration: the distance to the equilibrium, relative to"
            f" the first, falls by the factor {said} a step."
        )
        drawings.append(Drawing(png(contraction_figure, factor.value), alt, caption))
    return drawings


def brackets_figure(constants: list[tuple[Mark, Mark]]) -> Figure:
    """Draw each constant as a bar on a logarithmic axis."""
    figure, axes = new_axes(0.7 + 0.5 * len(constants))
    for row, (low, high) in enumerate(constants):
        axes.plot([low.value, high.value], [row, row], color="#999999", linewidth=2.4, zorder=1)
        for end, side, shift in ((low, "right", -6), (high, "left", 6)):
            face = end.colour if end.colour == _PROVED else "white"
            (mark,) = axes.plot([end.value], [row], "o", color=end.colour, markersize=7)
            mark.set(markerfacecolor=face, markeredgewidth=1.8)
            note(axes, quantity(end.value), (end.value, row), (shift, 5), side)
    axes.set_xscale("log")
    # Leave room for the numbers at both ends.
    left, right = axes.get_xlim()
    reach = max((right / left) ** 0.15, 3.2)
    axes.set_xlim(left / reach, right * reach)
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    powers_of_ten(axes.xaxis)
    name_rows(axes, [low.label for low, _ in constants], top=-0.75)
    axes.set_ylim(len(constants) - 0.5, -0.75)
    return figure


def errors_figure(rows: list[Mark]) -> Figure:
    """Draw decibels as marks, one a row."""
    figure, axes = new_axes(0.75 + 0.42 * len(rows))
    for row, (label, value, colour) in enumerate(rows):
        marker, size = ("o", 7) if label == "measured" else ("|", 14)
        axes.plot([value], [row], marker=marker, markersize=size, color=colour, markeredgewidth=2)
        note(axes, number(value), (value, row), (8, -3), "left")
    name_rows(axes, [mark.label for mark in rows])
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.margins(x=0.2)
    axes.set_xlabel("PSNR in dB")
    return figure


def contraction_figure(factor: float) -> Figure:
    """Draw the proved bound ``factor ** k`` on the error of an iteration down to 1e-6."""
    figure, axes = new_axes(2.3)
    last = math.ceil(math.log(1e-6) / math.log(factor))
    steps = np.unique(np.linspace(0, last, 200).round())
    axes.semilogy(steps, factor**steps, color=_PROVED)
    axes.set_xlabel("fixed-point steps")
    axes.set_ylabel("worst-case distance")
    powers_of_ten(axes.yaxis)
    return figure


def _brackets(certificate: Certificate) -> list[tuple[Mark, Mark]]:
    """Where the norm of A and the Lipschitz constant of R lie: both ends, where both are known."""
    ends = (
        (_mark(certificate, f"{name}_lower", label), _mark(certificate, f"{name}_upper", label))
        for name, label in _CONSTANTS.items()
    )
    return [(low, high) for low, high in ends if low is not None and high is not None]


def _errors(certificate: Certificate, error: float, entries: int) -> list[Mark]:
    """What was measured and each known bound of it, in dB, largest first."""
    known = (
        _mark(certificate, "error_floor", "no noise, no α\ngives more"),
        _mark(certificate, "error_lower_bound", "this noise, this α\ngive at most"),
        _mark(certificate, "error_upper_bound", "guaranteed"),
    )
    marks = [Mark("measured", error, _MEASURED), *(mark for mark in known if mark is not None)]
    rows = [mark._replace(value=decibels(mark.value, entries)) for mark in marks]
    return sorted(rows, key=lambda row: -row.value)


def _mark(certificate: Certificate, name: str, label: str) -> Mark | None:
    """The statement of that name if it holds a positive finite number that can be drawn."""
    found = certificate.find(name)
    if found is None or found.value is None or not found.holds or not 0 < found.value < math.inf:
        return None
    return Mark(label, found.value, _PROVED if found.kind == "PROVED" else _ESTIMATED)
