"""A study as tables and sentences for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from equipoise.report.study_words import HEADS, meaning_of_intervals, row_of
from equipoise.study.records import CaseRecord, StudyRecord


def print_study(study: StudyRecord, console: Console) -> None:
    """Print one table for each case, then what was found.

    Args:
        study: what was measured.
        console: where to print.
    """
    for case in study.cases:
        console.print(_table(case))
        for line in case.findings:
            console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
        console.print()
    meaning = meaning_of_intervals(study.study)
    console.print(f"Intervals: {meaning}.", markup=False, highlight=False, soft_wrap=True)


def _table(case: CaseRecord) -> Table:
    table = Table(
        title=Text(f"{case.physics}, {case.regularizer}"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(HEADS[0], overflow="fold")
    for head in HEADS[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    for number in (number for number in case.numbers if number.main):
        table.add_row(*(Text(cell) for cell in row_of(number)))
    return table
