"""A record to test with, and the skip where the shared data are absent."""

from __future__ import annotations

import pytest

from benchmarks.instances import data_folder
from benchmarks.record import Column, Record, Row, Table
from equipoise.errors import UsageError


def need_data() -> None:
    """Skip the test where photographs or weights are absent."""
    try:
        for name in ("bsd68", "set12", "ridge_weights"):
            data_folder(name)
    except UsageError as error:
        pytest.skip(str(error))


def example_record(name: str = "growth") -> Record:
    """A record with every kind of value."""
    columns = [
        Column("ms", "median", "ms"),
        Column("evaluations", "evaluations"),
        Column("right", "right direction"),
        Column("error", "error", digits=2),
    ]
    rows = [
        Row("ours", {"ms": 12.345, "evaluations": 12345, "right": True, "error": 0.00012}),
        Row("a | b", {"ms": "not reached: 0.21 after 300", "right": False, "error": None}),
    ]
    return Record(
        name=name,
        question="How long?",
        settings={"sizes": [64, 128], "sigma": 0.1},
        machine={
            "processor": "P",
            "accelerator": None,
            "cores": 2,
            "threads": 2,
            "memory": 23.5,
            "python": "3.11",
            "torch": "2.15",
            "deepinv": "0.5",
            "torchdeq": None,
            "equipoise": "0.1",
            "commit": "abc",
            "date": "2026-01-01",
        },
        tables=[Table("Times", columns, rows, "A note.", "method")],
        findings=["It is fast."],
        seconds=12.0,
    )
