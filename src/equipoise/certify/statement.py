"""What a certificate is made of: numbers, each with its standing, its hypotheses and its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from equipoise.bounds import Kind
from equipoise.strict_json import jsonable


@dataclass(frozen=True)
class Statement:
    """One claim, or the reason why it cannot be made.

    Args:
        name: what a program looks it up by, in snake_case, for example ``stability_norm``.
        title: what a reader calls it, for example ``Lipschitz constant of R, from above``.
        value: the number; None where a hypothesis fails, so that nothing is claimed.
        kind: PROVED or ESTIMATED.
        assumes: the hypotheses, in plain words; the linearity of A goes without saying.
        holds: whether the hypotheses were checked and are met.
        source: where the statement is derived, for example ``theory, Thm 2``.
        words: one plain sentence that says what the number means, or which hypothesis fails and
            by how much.
        advice: what would mend a failing hypothesis; empty where nothing fails.
    """

    name: str
    title: str
    value: float | None
    kind: Kind
    assumes: str
    holds: bool
    source: str
    words: str
    advice: str = ""

    def record(self) -> dict[str, Any]:
        """JSON-able form; infinite numbers become the texts ``inf`` and ``-inf``."""
        return asdict(self) | {"value": jsonable(self.value), "kind": str(self.kind)}


@dataclass(frozen=True)
class Section:
    """Statements that answer one question.

    Args:
        title: the question's short name, for example ``Stability``.
        statements: the claims, most important first.
    """

    title: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Certificate:
    """Everything that is known of one equation.

    Args:
        subject: one sentence: physics, regulariser, alpha, image size.
        sections: the answers.
    """

    subject: str
    sections: tuple[Section, ...]

    def __iter__(self) -> Iterator[Statement]:
        for section in self.sections:
            yield from section.statements

    def find(self, name: str) -> Statement | None:
        """The statement of that name, or None."""
        return next((statement for statement in self if statement.name == name), None)

    def records(self) -> list[dict[str, Any]]:
        """JSON-able list of all statements."""
        return [statement.record() for statement in self]
