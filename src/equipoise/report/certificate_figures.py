"""Figures of a certificate, where one would rather look than read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from equipoise.certify.statement import Certificate, Statement
from equipoise.report.certificate_words import quantity
from equipoise.report.markup import figure
from equipoise.report.style import drawn, new_figure
from equipoise.report.words import number, superscript_power

_PROVED, _ESTIMATED, _MEASURED = "#0072B2", "#E69F00", "#111111"


@dataclass(frozen=True)
class Bracket:
    """A constant between two numbers.

    Args:
        label: its name.
        low: statement that bounds or estimates it from below.
        high: statement that bounds or estimates it from above.
    """

    label: str
    low: Statement
    high: Statement


def lipschitz_figure(certificate: Certificate) -> str | None:
    """Show where the norms of A and the Lipschitz constant of R lie; None if neither is known."""
    pairs = (
        ("norm of A", "operator_norm_lower", "operator_norm_upper"),
        ("Lipschitz\nconstant of R", "lipschitz_lower", "lipschitz_upper"),
    )
    brackets = []
    for label, low, high in pairs:
        below, above = positive(certificate, low), positive(certificate, high)
        if below is not None and above is not None:
            brackets.append(Bracket(label, below, above))
    if not brackets:
        return None
    said = "; ".join(
        f"{b.label.replace(chr(10), ' ')} {quantity(b.low.value)} to {quantity(b.high.value)}"
        for b in brackets
    )
    caption = (
        "The truth lies between the marks. Filled: PROVED; open: ESTIMATED, from inputs that were"
        " tried."
    )
    return figure(draw_brackets(brackets), f"Constants: {said}", caption)


def error_figure(certificate: Certificate, error: float, entries: int) -> str | None:
    """Show the PSNR on this photograph between what is possible and what is guaranteed.

    Args:
        certificate: may hold bounds on the error from below and from above.
        error: ``||x - truth||``, as measured.
        entries: numbers in the image, for the PSNR.
    """
    low, floor, high = (
        positive(certificate, name)
        for name in ("error_lower_bound", "error_floor", "error_upper_bound")
    )
    if low is None and floor is None and high is None:
        return None
    rows: list[tuple[str, float, str]] = [("measured", decibels(error, entries), _MEASURED)]
    for label, found in (
        ("no noise, no α\ngives more", floor),
        ("this noise, this α\ngive at most", low),
        ("guaranteed", high),
    ):
        if found is not None and found.value is not None:
            colour = _PROVED if found.kind == "PROVED" else _ESTIMATED
            rows.append((label, decibels(found.value, entries), colour))
    rows.sort(key=lambda row: -row[1])
    said = ", ".join(f"{label} {number(value)} dB".replace("\n", " ") for label, value, _ in rows)
    return figure(draw_errors(rows), f"PSNR: {said}", "PSNR of the restored photograph in dB.")


def steps_figure(certificate: Certificate) -> str | None:
    """Show the proved bound on the error of an iteration against its steps; None without one."""
    factor = certificate.find("contraction_factor")
    if factor is None or factor.value is None or not 0 < factor.value < 1:
        return None
    kappa = factor.value
    alt = f"Worst-case error of the iteration: factor {quantity(kappa)} a step"
    caption = (
        f"Worst case of the fixed-point iteration: the distance to the equilibrium, relative to the"
        f" first, falls by the factor {quantity(kappa)} a step."
    )
    return figure(draw_contraction(kappa), alt, caption)


def positive(certificate: Certificate, name: str) -> Statement | None:
    """The statement of that name if it holds a positive finite number that can be drawn."""
    found = certificate.find(name)
    if found is None or found.value is None or not found.holds:
        return None
    return found if 0 < found.value < math.inf else None


def decibels(error: float, entries: int) -> float:
    """PSNR of an image whose error has this norm: ``10 log10(entries / error^2)``."""
    return 10 * math.log10(entries / error**2) if error > 0 else math.inf


@drawn
def draw_brackets(brackets: list[Bracket]) -> Figure:
    """Draw each constant as a bar on a logarithmic axis."""
    sheet = new_figure(0.7 + 0.5 * len(brackets))
    axes = sheet.subplots()
    for row, bracket in enumerate(brackets):
        low, high = bracket.low.value, bracket.high.value
        assert low is not None
        assert high is not None
        axes.plot([low, high], [row, row], color="#999999", linewidth=2.4, zorder=1)
        for end, value in ((bracket.low, low), (bracket.high, high)):
            _mark(axes, value, row, end.kind == "PROVED")
        for value, side in ((low, "right"), (high, "left")):
            axes.annotate(
                quantity(value), (value, row), xytext=(6 if side == "left" else -6, 5),
                textcoords="offset points", ha=side, fontsize=8,
            )  # fmt: skip
    axes.set_xscale("log")
    _widen(axes)
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    _powers(axes.xaxis)
    axes.set_yticks(range(len(brackets)), [bracket.label for bracket in brackets])
    axes.set_ylim(len(brackets) - 0.5, -0.75)
    axes.grid(axis="y", visible=False)
    return sheet


@drawn
def draw_errors(rows: list[tuple[str, float, str]]) -> Figure:
    """Draw decibels as marks, one a row, largest first."""
    sheet = new_figure(0.75 + 0.42 * len(rows))
    axes = sheet.subplots()
    for row, (label, value, colour) in enumerate(rows):
        marker = "o" if label == "measured" else "|"
        size = 7 if label == "measured" else 14
        axes.plot([value], [row], marker=marker, markersize=size, color=colour, markeredgewidth=2)
        axes.annotate(
            number(value), (value, row), xytext=(8, -3), textcoords="offset points", fontsize=8
        )
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.margins(x=0.2)
    axes.set_xlabel("PSNR in dB")
    axes.grid(axis="y", visible=False)
    return sheet


@drawn
def draw_contraction(factor: float) -> Figure:
    """Draw ``factor ** k`` down to 1e-6."""
    sheet = new_figure(2.3)
    axes = sheet.subplots()
    last = math.ceil(math.log(1e-6) / math.log(factor))
    steps = np.unique(np.linspace(0, last, 200).round())
    axes.semilogy(steps, factor**steps, color=_PROVED)
    axes.set_xlabel("fixed-point steps")
    axes.set_ylabel("worst-case distance")
    _powers(axes.yaxis)
    return sheet


def _mark(axes: Axes, value: float, row: int, proved: bool) -> None:
    colour = _PROVED if proved else _ESTIMATED
    face = colour if proved else "white"
    axes.plot(
        [value], [row], marker="o", markersize=7, markerfacecolor=face, markeredgecolor=colour,
        markeredgewidth=1.8,
    )  # fmt: skip


def _powers(axis: Axis) -> None:
    """Label a logarithmic axis by powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: superscript_power(value)))
    axis.set_minor_formatter(NullFormatter())


def _widen(axes: Axes) -> None:
    """Leave room for the numbers at both ends of a logarithmic axis."""
    low, high = axes.get_xlim()
    reach = max((high / low) ** 0.15, 3.2)
    axes.set_xlim(low / reach, high * reach)
