"""Files are replaced in one step or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.errors import OutputError
from equipoise.files import atomic_write


def test_new_content_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("first", "second"):
        atomic_write(path, lambda temporary, text=text: _write(temporary, text))
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_old_content_stays_while_writing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix
        assert path.read_text() == "old"

    atomic_write(path, write)
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_interrupted_writer_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        atomic_write(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("x")
    atomic_write(tmp_path / "a.txt", lambda temporary: _write(temporary, "x"))
    assert (tmp_path / "a.txt").stat().st_mode == plain.stat().st_mode


def test_links_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "a.txt")
    atomic_write(link, lambda temporary: _write(temporary, "x"))
    assert link.is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "x"


def test_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        atomic_write(tmp_path / "a.txt", lambda temporary: None)


def test_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Not a directory"):
        atomic_write(tmp_path / "file" / "a.txt", lambda temporary: _write(temporary, "x"))


def test_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match=r"directory"):
        atomic_write(tmp_path / "a", lambda temporary: _write(temporary, "x"))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def _write(path: Path, text: str) -> None:
    path.write_text(text)
