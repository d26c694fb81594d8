"""What a benchmark measured: tables of numbers with their settings and their machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.strict_json import write_json

#: A cell: a number, words ("not reached: 0.21 after 300 evaluations"), or None (not measured).
Value = float | int | str | bool | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        key: name of the cell in each row's values.
        heading: what readers see.
        unit: unit of the numbers, for example ``"ms"``; empty for counts and ratios.
        digits: significant digits of numbers that are not whole.
    """

    key: str
    heading: str
    unit: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Row:
    """One line of a table; a key that is missing in ``values`` is an empty cell."""

    label: str
    values: dict[str, Value]


@dataclass(frozen=True)
class Table:
    """A table; ``subject`` heads the column of the rows' labels, ``note`` stands below it."""

    title: str
    columns: list[Column]
    rows: list[Row]
    note: str = ""
    subject: str = "case"


@dataclass(frozen=True)
class Record:
    """All that one benchmark measured.

    Args:
        name: of the benchmark.
        question: that its tables answer.
        settings: sizes, seeds, tolerances, repeats.
        machine: what :func:`benchmarks.machine.describe` said.
        tables: the numbers.
        findings: plain sentences, each with the requirement it is about where there is one.
        seconds: that the whole benchmark took.
    """

    name: str
    question: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    tables: list[Table]
    findings: list[str]
    seconds: float


def write_record(record: Record, path: Path) -> None:
    """Write a record as strict JSON, in one step; the folder is made.

    Raises:
        OutputError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(asdict(record), path)


def read_record(path: Path) -> Record:
    """Read a record that :func:`write_record` wrote.

    Raises:
        InputError: if the file is not there or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tables = [_table(table) for table in content.pop("tables")]
        return Record(**content, tables=tables)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a record of a benchmark: {error}") from error


def _table(content: dict[str, Any]) -> Table:
    columns = [Column(**column) for column in content.pop("columns")]
    rows = [Row(**row) for row in content.pop("rows")]
    return Table(**content, columns=columns, rows=rows)
