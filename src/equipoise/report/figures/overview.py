"""All cases of a study in one figure, for the studies that compare one number with a bound."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from equipoise.report.figures.sheet import Drawing, name_rows, new_axes, png
from equipoise.report.figures.style import curve_style
from equipoise.study.records import StudyRecord

_ROW, _BASE = 0.24, 1.25
#: Quantities of the stability study, as its numbers are named, and what the legend calls them.
_SHARES = {
    "norm": "image, ‖x₁ − x₂‖",
    "data": "data, ‖A(x₁ − x₂)‖",
    "bregman": "Bregman distance",
}
_LEAST, _FLOOR = "_least_error", "_floor"


def overview(study: StudyRecord) -> Drawing | None:
    """The figure of all cases of a study; None for studies that have none."""
    if study.study == "stability":
        return Drawing(
            png(shares_figure, study),
            "Largest ratio that attacks reached, relative to the certified constant, by case",
            "Largest ratio that attacks reached, relative to the certified constant: no dot may lie"
            " right of the line. Where there is no dot, nothing is certified; the number beside it"
            " is the largest change of the image reached, relative to that of the data.",
        )
    if study.study == "lower-bound":
        return Drawing(
            png(floors_figure, study),
            "Least error met over all alpha and noise levels beside the error floor, by case",
            "Bar: the floor under every reconstruction, for every alpha and noise level (hatched:"
            " ESTIMATED; none: the kernel of A sets no floor). Dot: the least error met.",
        )
    return None


def shares_figure(study: StudyRecord) -> Figure:
    """Reached over certified constant, a row for each case, a dot for each quantity."""
    figure, axes = new_axes(_BASE + _ROW * 1.6 * len(study.cases))
    for k, (name, label) in enumerate(_SHARES.items()):
        style = curve_style(k)
        points = [
            (number.value, row + 0.2 * (k - 1))
            for row, case in enumerate(study.cases)
            if (number := case.number(f"{name}_share")) is not None and number.value is not None
        ]
        x, y = np.reshape(points, (-1, 2)).T
        axes.plot(x, y, style.marker, color=style.colour, markersize=5, label=label)
    for row, case in enumerate(study.cases):
        share, reached = case.number("norm_share"), case.number("norm_reached")
        if share is not None and share.value is None and reached and reached.value is not None:
            text = f"image: {reached.value:.3g}, no bound"
            axes.annotate(text, (0.02, row - 0.2), fontsize=7.5, va="center", color="#444444")
    axes.axvline(1.0, color="#111111", linestyle="--", linewidth=1.2)
    axes.set_xlim(0.0, 1.06)
    axes.set_xlabel("reached / certified")
    name_rows(axes, [case.title for case in study.cases], fontsize=7.5)
    figure.legend(loc="outside lower center", ncols=2, handlelength=1.2, columnspacing=1.2)
    return figure


def floors_figure(study: StudyRecord) -> Figure:
    """The least error met and the floor, a row for each case and image."""
    rows = [
        (f"{case.title}, {number.name.removesuffix(_LEAST)}", case, number)
        for case in study.cases
        for number in case.numbers
        if number.name.endswith(_LEAST)
    ]
    figure, axes = new_axes(_BASE + _ROW * len(rows))
    for row, (_, case, least) in enumerate(rows):
        floor = case.number(least.name.removesuffix(_LEAST) + _FLOOR)
        if floor is not None and floor.value:
            hatch = "" if floor.kind.value == "PROVED" else "////"
            axes.barh(
                row, floor.value, height=0.6, hatch=hatch, color="#BBBBBB", edgecolor="#555555",
                linewidth=0.6,
            )  # fmt: skip
        if least.value is not None:
            axes.plot([least.value], [row], "o", color=curve_style(0).colour, markersize=5)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("‖x − x†‖ / ‖x†‖")
    name_rows(axes, [name for name, _, _ in rows], fontsize=7.5)
    return figure
