"""How a statement of a certificate reads: its number, and whether it is proved."""

from __future__ import annotations

import math

from equipoise.certify.statement import Certificate, Statement
from equipoise.report.words import MISSING

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


def quantity(value: float | None) -> str:
    """Write a number of any size with four significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "infinite" if value > 0 else "−infinite"
    return f"{value:.4g}".replace("-", "−")
