"""What a command has finished, line by line, so that the same command goes on after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from equipoise.cli.inputs import Job
from equipoise.files import atomic_write

#: Options that do not say what is done.
_HOW = ("--resume", "--overwrite", "--debug")


class Journal:
    """A hidden file of JSON lines beside the outputs, which is removed when all is done.

    Before an output is written a line says that it begins, and when all outputs of one input are
    there, a line says so with the SHA-256 of input and outputs. A line that was cut off, or that
    no longer agrees with the files, says nothing.

    Args:
        folder: where it lies.
        command: the command; the folder it runs in and the content of the files it names count,
            too, except for inputs.
        inputs: files that are looked at one by one.
    """

    def __init__(self, folder: Path, command: str, inputs: Iterable[Path]) -> None:
        known = {str(path) for path in inputs}
        words = [word for word in shlex.split(command) if word not in _HOW]
        named = {word: word.partition(":")[0] for word in words if word not in known}
        contents = {w: digest(Path(name)) for w, name in named.items() if Path(name).is_file()}
        key = json.dumps([os.getcwd(), words, contents]).encode()
        self.path = folder / f".equipoise-{hashlib.sha256(key).hexdigest()[:16]}.journal"
        self._lines: list[dict[str, Any]] = []
        #: The last line about each job.
        self._latest: dict[tuple[str, ...], dict[str, Any]] = {}

    @property
    def there(self) -> bool:
        """Whether this command was begun before and not finished."""
        return self.path.exists()

    def read(self) -> None:
        """Go on from what is there; otherwise it is begun anew."""
        with contextlib.suppress(OSError):
            for line in self.path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError, AttributeError):
                    self._remember(json.loads(line))

    def begin(self) -> None:
        """Leave out what does not count, so that the next line is a whole one."""
        if self._lines:
            text = "".join(json.dumps(line) + "\n" for line in self._lines)
            with contextlib.suppress(OSError):
                atomic_write(self.path, text)
        else:
            self.close(done=True)

    def owns(self, job: Job) -> bool:
        """Whether what is there of its outputs is this command's: being written, or unchanged."""
        line = self._latest.get(tuple(_names(job)))
        return line is not None and ("begins" in line or line["digests"][1:] == _digests(job)[1:])

    def finished(self, job: Job) -> dict[str, Any] | None:
        """The row of a job whose input and outputs are as they were; otherwise None."""
        line = self._latest.get(tuple(_names(job)), {})
        return line["row"] if "ends" in line and line["digests"] == _digests(job) else None

    def begins(self, job: Job) -> None:
        """Say that its outputs are about to be written."""
        self._add({"begins": _names(job)})

    def ends(self, job: Job, row: Mapping[str, Any]) -> None:
        """Say that they are there, and what is to be shown of them."""
        self._add({"ends": _names(job), "digests": _digests(job), "row": dict(row)})

    def close(self, *, done: bool) -> None:
        """Remove the file if all is done, or if nothing has been done yet."""
        paths = [Path(name) for line in self._lines for name in line.get("begins", ())]
        if done or not any(path.exists() for path in paths):
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _remember(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        self._latest[tuple(line.get("begins") or line["ends"])] = line

    def _add(self, line: dict[str, Any]) -> None:
        """Add a line, to the file, too; without it the output is only made again."""
        self._remember(line)
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _names(job: Job) -> list[str]:
    return [str(path) for path in job.outputs]


def _digests(job: Job) -> list[str | None]:
    return [digest(path) for path in (job.source, *job.outputs)]


def digest(path: Path) -> str | None:
    """The SHA-256 of a file; None of what cannot be read or is no regular file."""
    try:
        if not path.is_file():  # a device may never end
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
