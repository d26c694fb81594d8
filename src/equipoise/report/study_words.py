"""How numbers of a study are written."""

from __future__ import annotations

import math

from equipoise.report.words import MISSING
from equipoise.study.records import Number


def value_text(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return MISSING if value is None or math.isnan(value) else f"{value:.3g}"


def interval_words(number: Number) -> str:
    """``[0.98, 1.02]``, or a dash where there is no interval."""
    if number.low is None or number.high is None or math.isnan(number.low):
        return MISSING
    return f"[{value_text(number.low)}, {value_text(number.high)}]"


def row_of(number: Number) -> list[str]:
    """Title, value, interval, theory, standing, status."""
    return [
        number.title,
        value_text(number.value),
        interval_words(number),
        value_text(number.theory),
        str(number.kind),
        number.status.lower().replace("_", " ") or MISSING,
    ]


#: Heads of the columns of :func:`row_of`.
HEADS = ("Quantity", "Value", "Interval", "Theory", "Standing", "Solves")

#: What the intervals of a study are; those of the other studies are confidence intervals.
_INTERVALS = {
    "stability": "the span of all restarts",
    "lower-bound": "the proved distance to the exact equilibrium, where there is one",
}


def meaning_of_intervals(study: str) -> str:
    """What the intervals of a study are, in words.

    Args:
        study: its name.
    """
    return _INTERVALS.get(study, "95 % intervals over draws (images and noise)")
