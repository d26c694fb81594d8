"""Records are written and read without loss, and refused where they are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench_data import example_record

from benchmarks.record import Row, read_record, write_record
from equipoise.errors import InputError


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "growth.json"
    write_record(example_record(), path)
    assert read_record(path) == example_record()


def test_nan_was_not_measured_and_infinity_is_a_word(tmp_path: Path) -> None:
    record = example_record()
    table = replace(record.tables[0], rows=[Row("x", {"ms": float("nan"), "error": float("inf")})])
    write_record(replace(record, tables=[table]), tmp_path / "a.json")
    assert read_record(tmp_path / "a.json").tables[0].rows[0].values == {"ms": None, "error": "inf"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tables": [{"title": "t"}]}'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="not a record"):
        read_record(path)


def test_a_record_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_record(example_record(), path)
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "other": 1}), "utf-8")
    with pytest.raises(InputError, match="other"):
        read_record(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        read_record(tmp_path / "none.json")
