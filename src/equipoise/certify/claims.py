"""Short ways to state a number, or to state why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.bounds import Bound, Kind
from equipoise.certify.statement import Statement


@dataclass(frozen=True)
class Topic:
    """The parts of a statement that do not depend on numbers.

    Args:
        name, title, assumes, source: as for :class:`Statement`.
    """

    name: str
    title: str
    assumes: str
    source: str

    def says(self, bound: Bound, words: str, assumes: str = "") -> Statement:
        """State a number whose hypotheses are met.

        Args:
            bound: the number and its standing. Where it is ESTIMATED, the words end with the
                reason.
            words: as for :class:`Statement`.
            assumes: the hypotheses on which this number rests, where they are others.
        """
        if not bound.proved and bound.why and bound.why not in words:
            words = f"{words} ESTIMATED: {bound.why}."
        met = assumes or self.assumes
        return Statement(
            self.name, self.title, bound.value, bound.kind, met, True, self.source, words
        )

    def states(self, bound: Bound | None, words: str, missing: tuple[str, str]) -> Statement:
        """State a number, or why there is none and what would mend that."""
        return self.fails(*missing) if bound is None else self.says(bound, words)

    def fails(self, words: str, advice: str) -> Statement:
        """State that a hypothesis is not met, by how much, and what would mend it.

        Args:
            words, advice: as for :class:`Statement`.
        """
        kind, source = Kind.ESTIMATED, self.source
        return Statement(
            self.name, self.title, None, kind, self.assumes, False, source, words, advice
        )


#: What helps where R declares no constant.
DECLARE = "Use a field from the catalogue, or declare traits() that can be proved."


def text(value: float) -> str:
    """A number as it is quoted in sentences."""
    return f"{value:.4g}"
