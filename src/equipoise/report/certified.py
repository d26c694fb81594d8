"""What can be certified of each method of a comparison: one table for each task."""

from __future__ import annotations

import math
from typing import Any

from equipoise.report.certificate_figures import decibels
from equipoise.report.certificate_words import quantity
from equipoise.report.groups import Group
from equipoise.report.markup import prose, table
from equipoise.report.words import MISSING, number

#: Marks a number that was measured and is no bound.
_MEASURED = " (est.)"


def certified_table(groups: list[Group]) -> str:
    """Tabulate each method's certificate for the first test photograph; empty without any.

    Args:
        groups: the task's methods; the first seed of each is shown.
    """
    shown = [group for group in groups if group.summary.certificates]
    if not shown:
        return ""
    photograph = shown[0].summary.images[0].name
    heads = [
        "Method",
        "Modulus m",
        "Lipschitz constant of R",
        "Stability",
        "Distance to equilibrium ≤",
        "PSNR ≤, no noise, dB",
        "PSNR ≤, this noise, dB",
        "PSNR ≥, this noise, dB",
        "PSNR measured, dB",
        "Symmetry defect",
    ]
    caption = (
        f"What can be certified, for the photograph {photograph}; numbers are PROVED unless marked"
        f" est. (ESTIMATED). {MISSING}: a hypothesis fails, and nothing is claimed."
    )
    return table(caption, heads, [_row(group) for group in shown])


def certificate_notes(groups: list[Group]) -> str:
    """Say for each method which hypotheses fail and what would mend them, as markup."""
    items = []
    for group in groups:
        failing = [s for s in group.summary.certificates if not s["holds"]]
        advice = dict.fromkeys(s["advice"] for s in failing if s["advice"])
        if failing:
            titles = ", ".join(s["title"] for s in failing)
            text = f"{group.label}: not met for {titles}. {' '.join(advice)}".strip()
            items.append(f"<li>{prose(text)}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _row(group: Group) -> list[str]:
    run = group.runs[0]
    found = {s["name"]: s for s in run.summary.certificates}
    score = run.summary.images[0]
    entries = run.reconstructions[score.name].size
    return [
        group.label,
        _cell(found.get("strong_monotonicity")),
        _bracket(found.get("lipschitz_lower"), found.get("lipschitz_upper")),
        f"x: {_cell(found.get('stability_norm'))}\nAx: {_cell(found.get('stability_data'))}",
        _cell(found.get("distance_upper")),
        _psnr(found.get("error_floor"), entries),
        _psnr(found.get("error_lower_bound"), entries),
        _psnr(found.get("error_upper_bound"), entries),
        number(score.psnr),
        _cell(found.get("symmetry_defect")),
    ]


def _value(statement: dict[str, Any] | None) -> float | None:
    """The number of a statement's record; infinity stands there as text."""
    if statement is None or statement["value"] is None or not statement["holds"]:
        return None
    return float(statement["value"])


def _mark(statement: dict[str, Any] | None) -> str:
    return _MEASURED if statement is not None and statement["kind"] == "ESTIMATED" else ""


def _cell(statement: dict[str, Any] | None) -> str:
    value = _value(statement)
    return MISSING if value is None else quantity(value) + _mark(statement)


def _bracket(low: dict[str, Any] | None, high: dict[str, Any] | None) -> str:
    return f"{_cell(low)} to\n{_cell(high)}"


def _psnr(statement: dict[str, Any] | None, entries: int) -> str:
    value = _value(statement)
    if value is None:
        return MISSING
    text = number(decibels(value, entries)) if 0 < value < math.inf else "no limit"
    return text + _mark(statement)
