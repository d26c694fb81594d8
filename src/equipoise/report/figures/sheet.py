"""The sheet that figures are drawn on: its size, its look, rows and axes, and how it is encoded."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from equipoise.files import atomic_write
from equipoise.report.words import superscript_power

P = ParamSpec("P")

#: Width of every figure in inches; at 375 CSS pixels a point of type is 1.4 pixels.
WIDTH = 3.75

#: Pixels per inch: two for each CSS pixel at a width of 375.
DENSITY = 200

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "text.parse_math": False,
}


class Drawing(NamedTuple):
    """A figure of a page.

    Args:
        address: PNG data address.
        alt: plain text that says what it shows.
        caption: plain text that says how to read it.
    """

    address: str
    alt: str
    caption: str


def png(draw: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs) -> str:
    """Draw a figure under the page's own settings and encode it as a PNG data address."""
    with matplotlib.rc_context(_RC):
        figure = draw(*args, **kwargs)
        figure.dpi = DENSITY
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # A palette of 128 colours is a third of the size and looks the same.
    indexed = pixels.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return data_address(indexed)


def save_figure(draw: Callable[[], Figure], paths: Sequence[Path]) -> None:
    """Draw a figure under the page's own settings into files, each replaced in one step.

    Args:
        draw: makes the figure.
        paths: files ending in .png or .svg; their folder must exist.

    Raises:
        OutputError: if a file cannot be written.
    """
    with matplotlib.rc_context({**_RC, "svg.hashsalt": "equipoise"}):
        figure = draw()
        for path in paths:
            form = path.suffix[1:]
            # Without its date an SVG file is the same whenever it is drawn.
            metadata = {"Date": None} if form == "svg" else None
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, dpi=DENSITY, metadata=metadata)
            atomic_write(path, buffer.getvalue())


def data_address(picture: Image.Image, **options: int) -> str:
    """Encode a picture as a PNG address that an ``img`` element can hold."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def new_figure(height: float) -> Figure:
    """Start a figure of the common width, in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def new_axes(height: float) -> tuple[Figure, Axes]:
    """Start a figure of the common width, in inches, with one pair of axes."""
    figure = new_figure(height)
    return figure, figure.subplots()


def name_rows(axes: Axes, names: Sequence[str], top: float = -0.6, **options: Any) -> None:
    """Write what the rows of a figure are, the first one at the top, in place of a grid."""
    axes.set_yticks(range(len(names)), names, **options)
    axes.set_ylim(len(names) - 0.4, top)
    axes.grid(axis="y", visible=False)


def note(
    axes: Axes, text: str, place: tuple[float, float], shift: tuple[int, int], align: str
) -> None:
    """Write small beside a place in a figure, so many points right of it and above."""
    axes.annotate(text, place, xytext=shift, textcoords="offset points", ha=align, fontsize=8)


def powers_of_ten(axis: Axis) -> None:
    """Label a logarithmic axis by powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: superscript_power(value)))
    axis.set_minor_formatter(NullFormatter())


def wrap(label: str, width: int = 44) -> str:
    """Break a label into at most three lines; a leading underscore would hide it in a legend."""
    text = "\n".join(textwrap.wrap(label, width, max_lines=3, placeholder=" …")) or " "
    return " " + text if text.startswith("_") else text
