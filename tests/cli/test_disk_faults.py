"""Disks that refuse: found before the work where they can be, and else nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from forks import Ended, Forks
from whole_runs import COMMANDS, furnish, others, results

NAMES = tuple(COMMANDS)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return furnish(tmp_path / "here")


def require_refused_at_once(ended: Ended, said: str) -> None:
    assert ended.code == 3, ended.err
    assert said in ended.err
    assert ended.err.startswith("Error: ")  # nothing was begun
    assert ended.out == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_in_place_of_an_output(name: str, forks: Forks, folder: Path) -> None:
    whole = COMMANDS[name]
    (folder / whole.outputs[-1]).mkdir(parents=True)
    require_refused_at_once(forks.run(folder, *whole.words), "it is a directory")
    assert others(whole, folder) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_in_place_of_a_folder(name: str, forks: Forks, folder: Path) -> None:
    (folder / "made").write_text("mine")
    require_refused_at_once(forks.run(folder, *COMMANDS[name].words), "Cannot make the folder")
    assert (folder / "made").read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_nobody_may_write_to(name: str, forks: Forks, folder: Path) -> None:
    """Permissions do not bind every user, so the calls themselves are refused."""
    made = folder / "made"
    made.mkdir()
    ended = forks.run(folder, *COMMANDS[name].words, refuse={f"{made}/": "EACCES"})
    require_refused_at_once(ended, "Permission denied")
    assert list(made.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_regular_file_in_place_of_an_output(name: str, forks: Forks, folder: Path) -> None:
    """A pipe stands for devices, none of which a test shall touch."""
    whole = COMMANDS[name]
    pipe = folder / whole.outputs[0]
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    ended = forks.run(folder, *whole.words, "--overwrite")
    require_refused_at_once(ended, "no regular file")
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_goes_while_the_run_goes_on(name: str, forks: Forks, folder: Path) -> None:
    """It is made again, and everything is there."""
    whole = COMMANDS[name]
    ended = forks.run(folder, *whole.words, when=2, remove=str(folder / "made"))
    assert ended.code == 0, ended.err
    assert list(results(whole, folder)) == list(whole.outputs)
    assert others(whole, folder) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_becomes_full(name: str, forks: Forks, folder: Path) -> None:
    """What cannot be written is kept elsewhere, as the program says; the table is there."""
    whole = COMMANDS[name]
    made = folder / "made"
    ended = forks.run(folder, *whole.words, when=2, refuse={f"{made}/": "ENOSPC"})
    assert ended.code == 3, ended.err
    assert "No space left on device" in ended.err
    assert ": begins\n" in ended.err  # progress, where standard error is a file
    (kept,) = (folder.parent / "temporary").iterdir()
    for output in whole.outputs:
        file = kept / Path(output).name
        assert f"It is kept as {file}" in ended.err or file.suffix == ".svg"
        assert whole.result(file)  # whole
    if name == "train":
        assert ended.err.count("Warning: The training goes on without a new checkpoint") == 1
    else:  # what a training says stands in its last line
        assert len(ended.out.splitlines()) > 3
    assert results(whole, folder) == {}


def test_another_folder_where_the_temporary_one_is_full_too(forks: Forks, folder: Path) -> None:
    temporary = folder.parent / "temporary"
    refused = {f"{folder}/made/": "EROFS", f"{temporary}/": "ENOSPC"}
    ended = forks.run(folder, *COMMANDS["certify"].words, when=2, refuse=refused)
    assert ended.code == 3, ended.err
    (kept,) = folder.glob("equipoise-*")
    assert sorted(file.name for file in kept.iterdir()) == ["certificate.html", "certificate.json"]


def test_no_place_at_all(forks: Forks, folder: Path) -> None:
    """The system refuses files beyond a size everywhere, as full disks would."""
    ended = forks.run(folder, *COMMANDS["certify"].words, when=2, room=20_000)
    assert ended.code == 3, ended.err
    assert "could not be kept elsewhere either" in ended.err
    assert "PROVED" in ended.out  # at least the table is said
    assert others(COMMANDS["certify"], folder) == []


def test_a_name_that_is_too_long(forks: Forks, folder: Path) -> None:
    words = ("certify", "--regularizer", "tikhonov", "--size", 16, "--out", "n" * 300)
    require_refused_at_once(forks.run(folder, *words), "name too long")


def test_a_real_disk_that_is_full(forks: Forks, folder: Path) -> None:
    """A file system of 16 KiB; where none may be mounted there is none to try."""
    small = folder / "made"
    small.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small))
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        ended = forks.run(folder, *COMMANDS["study"].words)
        assert ended.code == 3, ended.err
        assert "No space left on device" in ended.err
        (kept,) = (folder.parent / "temporary").iterdir()
        written = [*kept.iterdir(), *(p for p in small.iterdir() if p.is_file())]
        assert {f.name for f in written} >= {Path(o).name for o in COMMANDS["study"].outputs}
        assert not [p for p in small.iterdir() if p.name.startswith(".")]
    finally:
        subprocess.run(("umount", str(small)), check=True)
    assert os.listdir(small) == []
