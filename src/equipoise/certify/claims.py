"""Short ways to state a number, or to state why there is none."""

from __future__ import annotations

from equipoise.bounds import Bound, Kind
from equipoise.certify.statement import Statement


def claim(name: str, title: str, bound: Bound, assumes: str, source: str, words: str) -> Statement:
    """State a number whose hypotheses are met.

    Args:
        name, title, assumes, source, words: as for :class:`Statement`.
        bound: the number and its standing. Where it is ESTIMATED, the words end with the reason.
    """
    if not bound.proved and bound.why and bound.why not in words:
        words = f"{words} ESTIMATED: {bound.why}."
    return Statement(name, title, bound.value, bound.kind, assumes, True, source, words)


def refusal(name: str, title: str, assumes: str, source: str, words: str, advice: str) -> Statement:
    """State that a hypothesis is not met, by how much, and what would mend it.

    Args:
        name, title, assumes, source, words, advice: as for :class:`Statement`.
    """
    return Statement(name, title, None, Kind.ESTIMATED, assumes, False, source, words, advice)


def text(value: float) -> str:
    """A number as it is quoted in sentences."""
    return f"{value:.4g}"
