"""Damaged files of every kind are read or refused plainly; crashes and hangs are told apart."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_contents import changed_json, changed_png
from benchmarks.fuzz_files import KINDS, Kind, valid
from benchmarks.fuzz_mutations import sealed, with_checksums
from documents import read
from equipoise.errors import InputError


@pytest.mark.slow
def test_damaged_files_of_every_kind_are_read_or_refused() -> None:
    *_, counts = fuzz.fuzz(list(KINDS), 200, seed=5)
    assert {kind: count.other for kind, count in counts.items()} == {kind: {} for kind in KINDS}
    for kind, count in counts.items():
        assert count.mutants == 200, kind
        assert min(count.read, count.plain) > 5, kind  # the damage is neither none nor all


def make(folder: Path) -> None:
    (folder / "a.txt").write_bytes(bytes(range(64)) * 4)


def misread(file: Path) -> None:
    """Fail in every way, as the damaged content has it."""
    content = file.read_bytes()
    if content == bytes(range(64)) * 4:
        return
    kind = sum(content) % 6
    if kind == 0:
        raise InputError("refused")
    if kind == 1:
        raise InputError("it asks for more memory than there is")
    if kind == 2:
        raise KeyError("not listed")
    if kind == 3:
        os.abort()
    if kind == 4:
        time.sleep(30)


def test_each_end_is_counted_for_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz.KINDS, "odd", Kind(make, misread))
    monkeypatch.setattr(fuzz, "SECONDS", 0.3)
    ways = []
    for index in range(20):
        _, content = fuzz.mutant("odd", 0, index)
        ways.append(5 if content == bytes(range(64)) * 4 else sum(content) % 6)
    *_, counts = fuzz.fuzz(["odd"], 20, seed=0)
    count = counts["odd"]
    assert set(ways) == set(range(6))
    assert count.read == ways.count(5)
    assert (count.plain, count.memory) == (ways.count(0) + ways.count(1), ways.count(1))
    assert count.other == {"KeyError in test_fuzz.py:misread": (ways.count(2), ways.index(2))}
    assert count.crashes == {"test_fuzz.py (misread)": ways.count(3)}
    assert count.hangs == {"test_fuzz.py (misread)": ways.count(4)}
    assert count.mutants == 20
    lines = fuzz.failures(counts)
    assert f"odd: {ways.count(2)} times KeyError in test_fuzz.py:misread" in lines[0]
    assert "| odd | 20 |" in fuzz.table(counts)


def test_a_process_ends_with_the_one_that_asks(tmp_path: Path) -> None:
    reader = fuzz.Reader(0, tmp_path)
    reader.pipe.close()  # as when the process that asks is killed
    reader.process.join(20)
    assert reader.process.exitcode == 0


def test_a_seed_decides_the_mutants() -> None:
    for kind in KINDS:
        mutants = [fuzz.mutant(kind, 3, index) for index in range(20)]
        assert mutants == [fuzz.mutant(kind, 3, index) for index in range(20)]
        assert mutants != [fuzz.mutant(kind, 4, index) for index in range(20)]


def test_checksums_of_what_is_not_damaged_stay() -> None:
    for content in valid(KINDS["png8"]).values():
        assert with_checksums(content, content) == content
    for content in valid(KINDS["weights"]).values():
        assert sealed(content, content) == content


def test_well_formed_damage_is_well_formed(tmp_path: Path) -> None:
    import json
    from random import Random

    import PIL.Image

    (content, *_), (png, *_) = (valid(KINDS[kind]).values() for kind in ("weights", "png8"))
    opened = 0
    for seed in range(30):
        changed = changed_json(content, Random(seed))
        length = int.from_bytes(changed[:8], "little")
        json.loads(changed[8 : 8 + length])
        assert changed != content
        (tmp_path / "a.png").write_bytes(changed_png(png, Random(seed)))
        try:
            with PIL.Image.open(tmp_path / "a.png") as image:
                image.load()
            opened += 1
        except Exception:
            continue
    assert opened > 5


def test_the_command_says_what_it_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--mutants", "30", "--kinds", "npy,idx", "--seed", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].startswith("| kind | mutants | read | refused |")
    assert "| npy | 30 |" in printed.out
    assert "60 mutants, 0 kinds of failure" in printed.err
    with pytest.raises(SystemExit):
        fuzz.main(["--kinds", "nyp"])
    assert "unknown kinds nyp" in capsys.readouterr().err


def test_the_document_shows_a_run_without_other_errors() -> None:
    text = read("docs/command-line.md")
    (shown,) = re.findall(r"<!-- fuzz:begin -->\n(.*?)<!-- fuzz:end -->", text, re.S)
    head, _, *rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert head == fuzz.table({}).splitlines()[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == list(KINDS)
    for row in cells:
        assert int(row[1].replace(",", "")) >= 10_000
        assert row[5] == "0"
