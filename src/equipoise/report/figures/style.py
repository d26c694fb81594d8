"""How figures look: one colour, marker and line per method, legible at 375 pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from equipoise.compare.records import Comparison
from equipoise.report.groups import BASELINES, group_runs

#: Okabe and Ito's colours without yellow (too pale on white), then two darker ones.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5D3A9B", "#8C2D04"]
_GRAYS = ["#6E6E6E", "#111111"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<", ">"]
_LINES: list[str | tuple[int, tuple[int, ...]]] = [
    "-",
    (0, (5, 2)),
    (0, (6, 1, 1, 1)),
    (0, (1, 1)),
    (0, (3, 1, 1, 1, 1, 1)),
]


@dataclass(frozen=True)
class Style:
    """How one method is drawn in every figure of the page."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]

    @property
    def look(self) -> dict[str, Any]:
        """Arguments of a line of matplotlib's."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line}


#: Style of each method, by :attr:`equipoise.report.groups.Group.key`.
Styles = dict[tuple[str, str, str], Style]


def choose_styles(comparison: Comparison) -> Styles:
    """Give every method of the comparison its own style; the baselines are gray."""
    keys = list(dict.fromkeys(group.key for task in comparison.tasks for group in group_runs(task)))
    learned = [key for key in keys if key[0] not in BASELINES]
    styles = {}
    for key in keys:
        marker = _MARKERS[keys.index(key) % len(_MARKERS)]
        if key[0] in BASELINES:
            styles[key] = Style(_GRAYS[BASELINES.index(key[0]) % 2], marker, _LINES[3])
        else:
            styles[key] = replace(curve_style(learned.index(key)), marker=marker)
    return styles


def curve_style(position: int) -> Style:
    """Style of the n-th curve of a figure."""
    return Style(
        _COLOURS[position % len(_COLOURS)],
        _MARKERS[position % len(_MARKERS)],
        _LINES[position % len(_LINES)],
    )
