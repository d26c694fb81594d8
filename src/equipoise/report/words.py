"""Numbers as a reader sees them: one rounding rule for tables, figures and sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from equipoise.compare.records import Interval

#: Stands where a number was not measured or does not apply.
MISSING = "–"

_UNIT = re.compile(r"(\d) (%|dB\b|s\b)")

_NOUNS = {
    "denoise": "denoising",
    "inpaint": "inpainting",
    "deblur": "deconvolution",
    "physics": "the given physics",
}

#: What the intervals of a study are; those of the other studies are confidence intervals.
_INTERVALS = {
    "stability": "the span of all restarts",
    "lower-bound": "the proved distance to the exact equilibrium, where there is one",
}


def task_noun(task: str) -> str:
    """Name a task within a sentence: ``"denoise"`` becomes ``"denoising"``."""
    return _NOUNS.get(task, task)


def meaning_of_intervals(study: str) -> str:
    """Say what the intervals of the study of that name are."""
    return _INTERVALS.get(study, "95 % intervals over draws (images and noise)")


def number(value: float, decimals: int = 2) -> str:
    """Round to a fixed number of decimals with a true minus sign; a dash if not finite."""
    if not math.isfinite(value):
        return MISSING
    text = f"{value:.{decimals}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float, decimals: int = 2) -> str:
    """Round like :func:`number`, with a plus sign on positive numbers."""
    text = number(value, decimals)
    return f"+{text}" if text != MISSING and float(text.replace("−", "-")) > 0 else text


def count(value: float) -> str:
    """Write a whole number with thousands separated by commas."""
    return f"{value:,.0f}" if math.isfinite(value) else MISSING


def significant(value: float, digits: int = 2) -> str:
    """Write a number with so many significant digits; a dash if not finite."""
    return quantity(value, digits) if math.isfinite(value) else MISSING


def quantity(value: float | None, digits: int = 4) -> str:
    """Write a number of any size with so many significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return MISSING
    text = "infinite" if math.isinf(value) else f"{abs(value):.{digits}g}".replace("-", "−")
    return "−" + text if value < 0 else text


def seconds(value: float) -> str:
    """Write seconds: two significant digits below ten, whole seconds above."""
    if not math.isfinite(value):
        return MISSING
    return count(value) if value >= 10 else significant(value)


def percent(share: float) -> str:
    """Write a share in percent, never rounding an incomplete share up to 100 %."""
    if not math.isfinite(share):
        return MISSING
    if share == 1.0:
        return "100 %"
    return f"{min(100.0 * share, 99.9):.1f} %"


def has_interval(interval: Interval) -> bool:
    """Whether an interval could be given (it cannot for a single photograph)."""
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def interval_text(interval: Interval, decimals: int = 2) -> str:
    """Write ``low to high``; a dash where no interval could be given."""
    if not has_interval(interval):
        return MISSING
    return f"{number(interval.low, decimals)} to {number(interval.high, decimals)}"


def decimals_for(values: Sequence[float]) -> int:
    """Choose decimals (2 to 4) so that no non-zero number is printed as zero, if possible."""
    for decimals in (2, 3):
        if all(value == 0.0 or abs(value) >= 0.5 * 10.0**-decimals for value in values):
            return decimals
    return 4


def photographs(n: int) -> str:
    """Write ``"1 photograph"`` or ``"n photographs"``."""
    return "1 photograph" if n == 1 else f"{n} photographs"


def superscript_power(value: float) -> str:
    """Write a power of ten with superscript digits, ``10⁻³``; other numbers are left blank."""
    exponent = math.log10(value) if value > 0 else math.nan
    if not math.isfinite(exponent) or abs(exponent - round(exponent)) > 1e-9:
        return ""
    return "10" + str(round(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def prose(text: str) -> str:
    """Keep numbers and their units on one line."""
    return _UNIT.sub("\\1\u00a0\\2", text)
