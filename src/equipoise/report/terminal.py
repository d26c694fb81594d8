"""A comparison, a study and a certificate as tables and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from equipoise.certify.statement import Certificate, Statement
from equipoise.compare.records import Comparison
from equipoise.report import tables
from equipoise.report.plainly import plain_words
from equipoise.report.statements import LEGEND, NOT_MET, remedies, standing
from equipoise.report.words import meaning_of_intervals, quantity
from equipoise.study.records import StudyRecord

#: Colours of the standings; the words say the same.
_COLOURS = {"PROVED": "green", "ESTIMATED": "yellow", NOT_MET: "red"}


def print_table(comparison: Comparison, console: Console) -> None:
    """Print one table per task.

    Args:
        comparison: what the main job produced.
        console: where to print.
    """
    for task in comparison.tasks:
        console.print(_columns(tables.short(task), max_width=20))


def print_study(study: StudyRecord, console: Console) -> None:
    """Print one table for each case, then what was found.

    Args:
        study: what was measured.
        console: where to print.
    """
    for note in study.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    for case in study.cases:
        main = (number for number in case.numbers if number.main)
        console.print(_columns(tables.numbers(case.title, main)))
        for line in case.findings:
            console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
        console.print()
    meaning = meaning_of_intervals(study.study)
    console.print(f"Intervals: {meaning}.", markup=False, highlight=False, soft_wrap=True)


def print_certificate(certificate: Certificate, entries: int, console: Console) -> None:
    """Print the statements of a certificate, and what would mend the hypotheses that fail.

    Args:
        certificate: what is known of one equation.
        entries: how many numbers its picture has.
        console: where to print.
    """
    advice = remedies(certificate)
    console.print(Text(certificate.subject))
    console.print()
    for sentence in plain_words(certificate, entries):
        console.print(Text(sentence))
    for section in certificate.sections:
        table = _table(Text(section.title, style="bold"))
        table.add_column("Statement", ratio=3, min_width=18, overflow="fold")
        table.add_column("Value", justify="right", no_wrap=True)
        table.add_column("Standing", no_wrap=True)
        table.add_column("Meaning", ratio=5, overflow="fold")
        for statement in section.statements:
            table.add_row(*_statement(statement, advice))
        console.print()
        console.print(table)
    if advice:
        console.print()
        console.print(Text("What would mend what is not met", style="bold"))
        for place, words in enumerate(advice, 1):
            console.print(Text(f"[{place}] {words}"))
    console.print()
    console.print(Text(LEGEND))


def _statement(statement: Statement, advice: list[str]) -> Iterable[Text]:
    mark, meaning = standing(statement), statement.words
    if not statement.holds and statement.advice:
        meaning += f" Remedy: [{advice.index(statement.advice) + 1}]."
    value = quantity(statement.value)
    return Text(statement.title), Text(value), Text(mark, style=_COLOURS[mark]), Text(meaning)


def _columns(table: tables.Table, **first: Any) -> Table:
    """A table of numbers, which are not broken; the first column names the rows."""
    shown = _table(Text(table.caption))
    shown.add_column(table.heads[0], overflow="fold", **first)
    for head in table.heads[1:]:
        shown.add_column(head, justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _table(title: Text) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
