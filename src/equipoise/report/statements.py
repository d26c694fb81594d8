"""How a statement of a certificate reads: its number, and whether it is proved."""

from __future__ import annotations

import math

from equipoise.certify.statement import Certificate, Statement
from equipoise.report.groups import Group

#: Stands beside a statement one of whose hypotheses fails.
NOT_MET = "NOT MET"

#: Stands beside both pages and tables of certificates.
LEGEND = (
    "PROVED holds under the named assumptions, which were checked, up to rounding that the number"
    " allows for; ESTIMATED was measured and is no bound; NOT MET means that a hypothesis fails, so"
    " that nothing is claimed. Numbers are shown with four digits; the JSON has all of them."
)


def standing(statement: Statement) -> str:
    """Say how far a statement can be relied on: PROVED, ESTIMATED or NOT MET."""
    return str(statement.kind) if statement.holds else NOT_MET


def remedies(certificate: Certificate) -> list[str]:
    """Collect what would mend the hypotheses that fail, each advice once."""
    failing = (statement for statement in certificate if not statement.holds)
    return list(dict.fromkeys(statement.advice for statement in failing if statement.advice))


def unmet(groups: list[Group]) -> list[str]:
    """Say for each method of a comparison which hypotheses fail and what would mend them."""
    lines = []
    for group in groups:
        failing = [s for s in group.summary.certificates if not s["holds"]]
        advice = dict.fromkeys(s["advice"] for s in failing if s["advice"])
        if failing:
            titles = ", ".join(s["title"] for s in failing)
            lines.append(f"{group.label}: not met for {titles}. {' '.join(advice)}".strip())
    return lines


def decibels(error: float, entries: int) -> float:
    """PSNR of an image whose error has this norm: ``10 log10(entries / error^2)``."""
    return 10 * math.log10(entries / error**2) if error > 0 else math.inf
