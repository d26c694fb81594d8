"""Write the committed records into docs/speed.md, each between its two markers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.record import Record, read_record
from benchmarks.tables import markdown
from equipoise.errors import InputError
from equipoise.files import atomic_write

PAGE = ROOT / "docs" / "speed.md"
RECORDS = ROOT / "benchmarks" / "records"


def fill(page: Path = PAGE, records: Path = RECORDS) -> None:
    """Replace what stands between the markers of every record in the folder.

    Raises:
        InputError: if a record cannot be read or the page has no markers for it.
    """
    text = page.read_text(encoding="utf-8")
    for path in sorted(records.glob("*.json")):
        text = filled(text, read_record(path))
    atomic_write(page, text)


def filled(text: str, record: Record) -> str:
    """The page's text with this record's tables between its markers.

    Raises:
        InputError: if the text has no markers for it.
    """
    begin, end = (f"<!-- {record.name}:{word} -->" for word in ("begin", "end"))
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise InputError(f"The page has no {begin} ... {end} for the record.")
    figure = f"![{record.question}](images/speed-{record.name}.png)"
    return f"{before}{begin}\n{figure}\n\n{markdown(record)}\n{end}{after}"
