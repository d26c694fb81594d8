"""Sentences that hold a measured number against what is asked of it."""

from __future__ import annotations

from benchmarks.tables import MISSING, number


def verdict(
    measure: str, value: float | None, least: float, aim: float, unit: str = "", digits: int = 2
) -> str:
    """Say whether a number reaches its requirement and its aim.

    Whether small or large numbers are good follows from the order of requirement and aim.

    Args:
        measure: what was measured, the beginning of the sentence.
        value: the number; None where it could not be measured.
        least: what is required.
        aim: what is hoped for.
        unit: written behind each number, for example ``" %"`` or ``"x"``.
        digits: significant digits.
    """
    wanted = f"required {number(least, digits)}{unit}, aim {number(aim, digits)}{unit}"
    if value is None:
        return f"{measure}: {MISSING} ({wanted}): not measured."
    sign = 1.0 if aim >= least else -1.0
    if sign * value >= sign * aim:
        words = "reaches the aim"
    elif sign * value >= sign * least:
        words = "reaches the requirement"
    else:
        words = "misses the requirement"
    return f"{measure}: {number(value, digits)}{unit} ({wanted}): {words}."
