"""Records as tables, for the terminal and for the documentation."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks import machine
from benchmarks.record import Column, Record, Table, Value

#: Stands where nothing was measured.
MISSING = "–"


def cell(value: Value, column: Column) -> str:
    """Write a value as readers see it.

    Numbers have the column's significant digits, whole ones commas between thousands; words are
    taken as they are.
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return MISSING
    return number(value, column.digits)


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits; powers of ten where it is tiny or huge."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{max(0, digits - 1)}e}".replace("-", "−")
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{decimals}f}".replace("-", "−")


def heading(column: Column) -> str:
    """Heading with its unit."""
    return f"{column.heading} ({column.unit})" if column.unit else column.heading


def print_record(record: Record, console: Console) -> None:
    """Print question, machine, settings, tables and findings."""
    console.print(Text(f"{record.name}: {record.question}", style="bold"))
    console.print(Text(machine.sentence(record.machine)))
    console.print(Text(settings_line(record)))
    for table in record.tables:
        console.print(_rich(table))
        if table.note:
            console.print(Text(table.note))
    for finding in record.findings:
        console.print(Text(f"- {finding}"))


def settings_line(record: Record) -> str:
    """Settings and duration in one line."""
    words = ", ".join(f"{key} {_plain(value)}" for key, value in record.settings.items())
    return f"{words}; took {record.seconds:,.0f} s"


def markdown(record: Record) -> str:
    """Tables and findings for the documentation."""
    lines: list[str] = []
    for table in record.tables:
        lines += [f"**{table.title}**", "", *_markdown(table), ""]
        if table.note:
            lines += [table.note, ""]
    lines += [f"- {finding}" for finding in record.findings]
    if record.findings:
        lines.append("")
    lines.append(f"*{settings_line(record)}. {machine.sentence(record.machine)}.*")
    return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " / ".join(_plain(each) for each in value)
    return str(value)


def _rich(table: Table) -> RichTable:
    shown = RichTable(
        title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    shown.add_column(table.subject, overflow="fold")
    for column in table.columns:
        shown.add_column(Text(heading(column)), justify="right", overflow="fold")
    for row in table.rows:
        cells = [cell(row.values.get(column.key), column) for column in table.columns]
        shown.add_row(Text(row.label), *(Text(text) for text in cells))
    return shown


def _markdown(table: Table) -> list[str]:
    heads = [table.subject, *(heading(column) for column in table.columns)]
    lines = [_line(heads), "| --- |" + " ---: |" * len(table.columns)]
    for row in table.rows:
        cells = [cell(row.values.get(column.key), column) for column in table.columns]
        lines.append(_line([row.label, *cells]))
    return lines


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"
