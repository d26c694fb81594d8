"""Numbers as readers see them, verdicts, and the page that records are written into."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from bench_data import example_record
from rich.console import Console

from benchmarks.__main__ import BENCHMARKS, plot_path
from benchmarks.document import PAGE, RECORDS, fill, filled
from benchmarks.findings import verdict
from benchmarks.machine import describe, sentence
from benchmarks.record import Column, Value, read_record, write_record
from benchmarks.tables import cell, markdown, print_record
from equipoise.errors import InputError


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (12.345, 3, "12.3"),
        (0.01234, 2, "0.012"),
        (1234.5, 3, "1,234"),
        (-3.21e-7, 2, "−3.2e−07"),
        (0.0, 3, "0"),
        (4.0, 2, "4.0"),
        (9.996, 3, "10.0"),
        (12345, 3, "12,345"),
        (True, 3, "yes"),
        (False, 3, "no"),
        (None, 3, "–"),
        (float("nan"), 3, "–"),
        (float("inf"), 3, "inf"),
        ("not reached: 0.21", 3, "not reached: 0.21"),
    ],
)
def test_cells(value: Value, digits: int, text: str) -> None:
    assert cell(value, Column("k", "k", digits=digits)) == text


@pytest.mark.parametrize(
    ("value", "least", "aim", "words"),
    [
        (70.0, 45, 65, "reaches the aim"),
        (50.0, 45, 65, "reaches the requirement"),
        (44.0, 45, 65, "misses the requirement"),
        (1.0, 1.3, 1.1, "reaches the aim"),
        (1.2, 1.3, 1.1, "reaches the requirement"),
        (1.4, 1.3, 1.1, "misses the requirement"),
        (None, 1.3, 1.1, "not measured"),
    ],
)
def test_verdicts(value: float | None, least: float, aim: float, words: str) -> None:
    text = verdict("Time", value, least, aim, "x")
    assert text.startswith("Time: ")
    assert text.endswith(f"{words}.")


def test_tables_in_the_terminal_and_on_the_page() -> None:
    console = Console(width=120, highlight=False, file=io.StringIO())
    print_record(example_record(), console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    page = markdown(example_record())
    for text in ("12,345", "not reached: 0.21 after 300", "A note.", "It is fast.", "64 / 128"):
        assert text in printed
        assert text in page
    assert "| method | median (ms) | evaluations | right direction | error |" in page
    assert "| a \\| b | not reached: 0.21 after 300 | – | no | – |" in page
    assert "commit abc" in page


def test_the_machine_describes_itself() -> None:
    found = describe()
    line = sentence(found)
    assert found["cores"] >= 1
    assert f"torch {found['torch']}" in line
    assert "None" not in line.replace("commit None", "")


def test_records_fill_their_place_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    shutil.copy(PAGE, page)
    write_record(example_record(), tmp_path / "growth.json")
    fill(page, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert markdown(example_record()) in text
    own = re.compile(r"<!-- growth:begin -->.*<!-- growth:end -->", re.S)
    assert own.sub("", text) == own.sub("", PAGE.read_text(encoding="utf-8"))
    fill(page, tmp_path)
    assert page.read_text(encoding="utf-8") == text
    with pytest.raises(InputError, match="colour:begin"):
        filled(text, replace(example_record(), name="colour"))


def test_the_page_has_a_place_for_every_benchmark() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in BENCHMARKS:
        assert text.count(f"<!-- {name}:begin -->") == 1
        assert text.count(f"<!-- {name}:end -->") == 1


def test_the_page_shows_the_committed_records() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for path in sorted(RECORDS.glob("*.json")):
        record = read_record(path)
        assert path.stem == record.name
        assert filled(text, record) == text, "run python -m benchmarks document"
        assert plot_path(record.name, short=False).exists()
