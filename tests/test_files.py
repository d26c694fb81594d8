"""Files are replaced in one step or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from equipoise.errors import OutputError
from equipoise.files import atomic_write, require_writable


def test_new_content_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("first", "second"):
        atomic_write(path, text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_old_content_stays_while_writing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    replace = os.replace
    written: list[Path] = []

    def watched(temporary: Path, target: Path) -> None:
        assert temporary.parent == path.parent
        assert temporary.read_text() == "new"
        assert path.read_text() == "old"
        written.append(temporary)
        replace(temporary, target)

    monkeypatch.setattr(os, "replace", watched)
    atomic_write(path, "new")
    assert path.read_text() == "new"
    assert len(written) == 1


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_an_interruption_leaves_nothing(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted(*args: object) -> None:
        raise error

    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(type(error)):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("x")
    atomic_write(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode == plain.stat().st_mode


def test_links_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "a.txt")
    atomic_write(link, "x")
    assert link.is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "x"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        atomic_write(tmp_path / "none" / "a.txt", "x")


def test_bytes_are_written_as_they_are_and_text_in_utf_8(tmp_path: Path) -> None:
    for content, expected in ((b"\xff\r\n", b"\xff\r\n"), ("ä\n", b"\xc3\xa4\n")):
        atomic_write(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == expected


def test_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Not a directory"):
        atomic_write(tmp_path / "file" / "a.txt", "x")


def test_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match=r"directory"):
        atomic_write(tmp_path / "a", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe stands for devices, none of which a test shall touch."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OutputError, match="no regular file"):
            atomic_write(path, "x")
        with pytest.raises(OutputError, match="no regular file"):
            require_writable([path])
    assert pipe.is_fifo()


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    require_writable([path])
    atomic_write(path, "x")
    assert path.read_text() == "x"


def test_trying_makes_folders_and_leaves_files_alone(tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_text("old")
    require_writable([old, tmp_path / "a" / "b" / "new.txt"])
    assert old.read_text() == "old"
    assert list((tmp_path / "a" / "b").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "old.txt"]


def test_trying_writes_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.txt': No space left.*Choose another"):
        require_writable([tmp_path / "a.txt"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["folder", "file/a.txt", "n" * 256])
def test_what_cannot_be_written_is_found_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=name.partition("/")[0][:250]):
        require_writable([tmp_path / "fine", tmp_path / name])
