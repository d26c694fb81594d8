"""Numbers that say whether they are proved or only measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

#: Relative inflation that covers rounding when a norm is evaluated in floating point.
ROUNDING = 1e-6


class Kind(StrEnum):
    """PROVED holds for every input under checked hypotheses; ESTIMATED was measured."""

    PROVED = "PROVED"
    ESTIMATED = "ESTIMATED"


@dataclass(frozen=True)
class Bound:
    """A real number with its standing.

    Args:
        value: the number; ``math.inf`` and ``-math.inf`` are allowed.
        kind: whether it is proved or estimated.
        why: one phrase that names the argument or the measurement behind it.
    """

    value: float
    kind: Kind = Kind.PROVED
    why: str = ""

    @property
    def proved(self) -> bool:
        """Whether the value holds for every input."""
        return self.kind is Kind.PROVED

    def __add__(self, other: Bound) -> Bound:
        """Bound of a sum: proved only if both are."""
        kind = Kind.PROVED if self.proved and other.proved else Kind.ESTIMATED
        return Bound(self.value + other.value, kind, _join(self.why, other.why))

    def times(self, factor: float) -> Bound:
        """The bound multiplied by an exactly known number.

        Args:
            factor: any finite number; zero gives zero even for an infinite bound.
        """
        value = 0.0 if factor == 0.0 else self.value * factor
        return Bound(value, self.kind, self.why)

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.kind})"


def proved(value: float, why: str = "") -> Bound:
    """Make a proved bound."""
    return Bound(float(value), Kind.PROVED, why)


def estimated(value: float, why: str = "") -> Bound:
    """Make an estimated value."""
    return Bound(float(value), Kind.ESTIMATED, why)


def inflate(value: float) -> float:
    """Round a non-negative upper bound up by the relative rounding allowance.

    Formula: ``value * (1 + ROUNDING)``.
    """
    if math.isnan(value):
        return math.inf
    return value * (1.0 + ROUNDING)


def _join(a: str, b: str) -> str:
    return "; ".join(part for part in dict.fromkeys((a, b)) if part)
