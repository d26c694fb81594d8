"""Outputs belong to one run; what killed runs left behind is taken over or removed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import Run

from equipoise.cli.outputs import Rescue, lock_of, reserved
from equipoise.errors import OutputError, UsageError


def in_a_fork(act: Callable[[], None]) -> int:
    """Do something in another process; its number, once it has ended."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return child


def hold_and_die(path: Path) -> None:
    with reserved([path], held=[path], overwrite=True):
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_output_that_another_run_writes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with reserved([path], held=[path], overwrite=False):
        with (
            pytest.raises(OutputError, match=rf"process {os.getpid()} on .*, since 2.*delete"),
            reserved([path], held=[path], overwrite=True),
        ):
            pass
        assert lock_of(path).exists()  # the first still holds it
        other = tmp_path / "other.safetensors"
        with reserved([other], held=[other], overwrite=False):
            pass
    with reserved([path], held=[path], overwrite=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_run_writes_into_is_refused(tmp_path: Path) -> None:
    with (
        reserved([tmp_path / "a"], folder=tmp_path, overwrite=False),
        pytest.raises(OutputError, match="Another run writes here"),
        reserved([tmp_path / "b"], folder=tmp_path, overwrite=False),
    ):
        pass


def test_locks_of_the_dead_are_taken_over_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.safetensors"
    dead = in_a_fork(lambda: hold_and_die(path))
    assert lock_of(path).exists()
    with reserved([path], held=[path], overwrite=False):
        pass
    assert f"did not finish (process {dead} on " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_of_many_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    in_a_fork(lambda: hold_and_die(path))
    (told, tell), (wait, go) = os.pipe(), os.pipe()
    children = []
    for _ in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(go)
            try:
                with reserved([path], held=[path], overwrite=True):
                    os.write(tell, b"1")
                    os.read(wait, 1)  # until the others have tried
            except OutputError:
                os.write(tell, b"0")
            finally:
                os._exit(0)
    found = b"".join(os.read(told, 1) for _ in range(4))
    os.close(go)
    for child in children:
        os.waitpid(child, 0)
    assert sorted(found) == sorted(b"1000")
    for end in (told, tell, wait):
        os.close(end)


def test_a_lock_of_another_host_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    lock_of(path).write_text("123\nelsewhere\n")
    with (
        pytest.raises(OutputError, match=rf"process 123 on elsewhere.*delete {lock_of(path)}"),
        reserved([path], held=[path], overwrite=True),
    ):
        pass
    assert lock_of(path).exists()


def test_what_killed_runs_left_is_removed_by_the_next(tmp_path: Path, run: Run) -> None:
    """By any command that writes into that folder; files of others stay."""
    from equipoise import files

    def die(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write_and_die() -> None:
        files.os.replace = die  # type: ignore[assignment]
        files.atomic_write(tmp_path / "a.txt", "half")

    in_a_fork(lambda: hold_and_die(tmp_path / "w.safetensors"))
    in_a_fork(write_and_die)
    left = {path.name for path in tmp_path.iterdir()}
    assert sorted(name.rpartition(".")[2] for name in left) == ["lock", "part"]
    (part,) = (name for name in left if name.endswith(".part"))
    host = part.split("-")[1]
    kept = {
        f".equipoise-{host}-{os.getpid()}-0123456789ab.part",  # of a process that lives
        part.replace(host, "00000000"),  # of another host
        ".equipoise-notes.part",
        "mine.part",
    }
    for name in kept:
        (tmp_path / name).write_text("mine")
    words = ("--regularizer", "tikhonov", "--size", 16, "--out", tmp_path)
    assert run("certify", *words).exit_code == 0
    made = {"certificate.html", "certificate.json"}
    assert {path.name for path in tmp_path.iterdir()} == kept | made


def test_existing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with (
        pytest.raises(UsageError, match=r"Already there: .*/a\. Use --overwrite .*Or so\."),
        reserved([tmp_path / "a"], overwrite=False, advice="Or so."),
    ):
        pass
    with reserved([tmp_path / "a"], overwrite=True):
        pass
    assert (tmp_path / "a").read_text() == "x"


def test_an_output_that_fails_does_not_keep_others_from_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    (tmp_path / "made" / "a").mkdir(parents=True)
    rescue = Rescue()
    assert not rescue.write(tmp_path / "made" / "a", lambda path: path.write_text("one"))
    assert rescue.write(tmp_path / "made" / "b", lambda path: path.write_text("two"))
    assert (tmp_path / "made" / "b").read_text() == "two"
    (kept,) = elsewhere.iterdir()
    assert (kept / "a").read_text() == "one"
    with pytest.raises(OutputError, match=rf"directory.*It is kept as {kept / 'a'}\."):
        rescue.finish()
