"""The two kinds of figure: lines over a size, and bars on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.tables import number
from equipoise.report.figures.sheet import save_figure
from equipoise.report.figures.style import curve_style
from equipoise.report.words import superscript_power

#: Width of figures in inches; they are legible at 800 pixels.
WIDTH = 6.2
_GRAY = "#6E6E6E"
#: Width of a character of a bar's words as a share of the axis.
_CHARACTER = 0.02
#: Ratio of the ends of an axis below which powers of ten are too few numbers.
_NARROW = 50.0


@dataclass(frozen=True)
class Curve:
    """Values over a size; None (not measured) breaks the line."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True)
class Lines:
    """A panel of curves on logarithmic axes.

    Args:
        title: of the panel.
        x_label: with its unit.
        y_label: with its unit.
        curves: what is drawn.
        ticks: (value, text) on the x axis.
        log_y: whether the y axis is logarithmic; otherwise it begins at zero.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    ticks: Sequence[tuple[float, str]] = ()
    log_y: bool = True


@dataclass(frozen=True)
class Bar:
    """One bar; without a value ``words`` stand in its place ("not reached: ...")."""

    label: str
    value: float | None
    words: str = ""
    group: int = 0


@dataclass(frozen=True)
class Bars:
    """A panel of horizontal bars on a logarithmic axis.

    Args:
        title: of the panel.
        x_label: with its unit.
        bars: from top to bottom; ``group`` chooses the colour.
        marks: (value, text): vertical lines, requirements for example.
    """

    title: str
    x_label: str
    bars: Sequence[Bar]
    marks: Sequence[tuple[float, str]] = field(default=())


def save(panels: Sequence[Lines | Bars], path: Path) -> None:
    """Draw panels below each other into a PNG file; its folder is made.

    Raises:
        OutputError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(_figure(panels), [path])


def _figure(panels: Sequence[Lines | Bars]) -> Callable[[], Figure]:
    def draw() -> Figure:
        heights = [_height(panel) for panel in panels]
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            axis.set_title(panel.title, loc="left")
            axis.set_xlabel(panel.x_label)
            if isinstance(panel, Lines):
                _draw_lines(axis, panel)
            else:
                _draw_bars(axis, panel)
        return figure

    return draw


def _height(panel: Lines | Bars) -> float:
    return 3.3 if isinstance(panel, Lines) else 0.9 + 0.26 * len(panel.bars)


def _draw_lines(axis: Axes, panel: Lines) -> None:
    axis.set_xscale("log")
    axis.set_ylabel(panel.y_label)
    for position, curve in enumerate(panel.curves):
        style = curve_style(position)
        values = [float("nan") if value is None else value for value in curve.y]
        axis.plot(
            curve.x,
            values,
            color=style.colour,
            marker=style.marker,
            linestyle=style.line,
            markersize=4.5,
            label=curve.label,
        )
    if panel.log_y:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0.0)
    if panel.ticks:
        axis.xaxis.set_major_locator(FixedLocator([value for value, _ in panel.ticks]))
        axis.set_xticklabels([text for _, text in panel.ticks])
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        _plain_powers(axis.xaxis)
    if panel.log_y:
        _plain_powers(axis.yaxis)
    if len(panel.curves) > 1:
        axis.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=2)


def _draw_bars(axis: Axes, panel: Bars) -> None:
    axis.set_xscale("log")
    places = list(range(len(panel.bars), 0, -1))
    values = [bar.value for bar in panel.bars if bar.value is not None and bar.value > 0]
    values += [value for value, _ in panel.marks]
    low = 0.5 * min(values, default=0.1)
    high = low * max(4.0 * max(values, default=1.0) / low, *(_room(bar, low) for bar in panel.bars))
    for place, bar in zip(places, panel.bars, strict=True):
        if bar.value is not None and bar.value > 0:
            colour = curve_style(bar.group).colour
            axis.barh(place, bar.value - low, left=low, height=0.68, color=colour)
            text = bar.words or number(bar.value)
            axis.text(bar.value * 1.05, place, text, va="center", fontsize=8.5)
        else:
            text = bar.words or "not measured"
            axis.text(low * 1.05, place, text, va="center", fontsize=8.5, color=_GRAY)
    for value, text in panel.marks:
        axis.axvline(value, color=_GRAY, linestyle=(0, (4, 2)), linewidth=1.0, zorder=0)
        axis.text(value, len(panel.bars) + 0.62, f" {text}", fontsize=8.5, color=_GRAY)
    axis.set_xlim(low, high)
    _plain_powers(axis.xaxis)
    axis.set_ylim(0.4, len(panel.bars) + (1.2 if panel.marks else 0.6))
    axis.set_yticks(places, [bar.label for bar in panel.bars])
    axis.grid(visible=False, axis="y")


def _room(bar: Bar, low: float) -> float:
    """Ratio of the ends of an axis from ``low`` on which a bar's words end within the axis."""
    if bar.value is None or bar.value <= 0:
        return 1.0
    share = min(0.8, _CHARACTER * len(bar.words or number(bar.value)))
    return float((bar.value / low) ** (1.0 / (1.0 - share)))


def _plain_powers(axis: Axis) -> None:
    """Number a logarithmic axis without mathematical typesetting: the powers of ten, and where it
    spans few of them their double and their fivefold."""

    def text(value: float, _: int | None = None) -> str:
        return f"{value:,g}" if 1e-3 <= value < 1e6 else superscript_power(value)

    low, high = axis.get_view_interval()
    if high < _NARROW * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(text))
    axis.set_minor_formatter(NullFormatter())
