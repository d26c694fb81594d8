"""A certificate as tables for the terminal, one for each question."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from equipoise.certify.statement import Certificate, Section
from equipoise.report.certificate_words import LEGEND, NOT_MET, quantity, remedies, standing

#: Colours of the standings; the words say the same.
_COLOURS = {"PROVED": "green", "ESTIMATED": "yellow", NOT_MET: "red"}


def print_certificate(certificate: Certificate, console: Console) -> None:
    """Print the statements of a certificate, and what would mend the hypotheses that fail.

    Args:
        certificate: what is known of one equation.
        console: where to print.
    """
    advice = remedies(certificate)
    console.print(Text(certificate.subject))
    for section in certificate.sections:
        console.print()
        console.print(_table(section, advice))
    if advice:
        console.print()
        console.print(Text("What would mend what is not met", style="bold"))
        for number, words in enumerate(advice, 1):
            console.print(Text(f"[{number}] {words}"))
    console.print()
    console.print(Text(LEGEND))


def _table(section: Section, advice: list[str]) -> Table:
    table = Table(
        title=Text(section.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("Statement", ratio=3, min_width=18, overflow="fold")
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("Standing", no_wrap=True)
    table.add_column("Meaning", ratio=5, overflow="fold")
    for statement in section.statements:
        mark = standing(statement)
        meaning = statement.words
        if not statement.holds and statement.advice:
            meaning += f" Remedy: [{advice.index(statement.advice) + 1}]."
        table.add_row(
            Text(statement.title),
            quantity(statement.value),
            Text(mark, style=_COLOURS[mark]),
            Text(meaning),
        )
    return table
