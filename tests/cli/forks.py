"""The program in processes of its own that start at once and can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("fork_server.py")


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (negative: killed by that signal), what it said, its events."""

    code: int
    out: str
    err: str
    events: int
    steps: int
    seconds: float


class Forks:
    """A server of ``fork_server.py``; a context manager."""

    def __enter__(self) -> Forks:
        self._logs = tempfile.TemporaryDirectory()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self._server = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert self._answer() == "ready"
        return self

    def __exit__(self, *arguments: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()
        self._logs.cleanup()

    def start(self, folder: Path, *words: object, **harm: Any) -> int:
        """Begin a run in a folder; its process number."""
        self._began = time.monotonic()
        temporary = folder.parent / "temporary"
        temporary.mkdir(exist_ok=True)
        job = {
            "words": [str(word) for word in words],
            "folder": str(folder),
            "log": f"{self._logs.name}/log",
            "temporary": str(temporary),
            **harm,
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return int(self._answer())

    def end(self) -> Ended:
        """Wait for the run that was begun."""
        code, (events, steps) = json.loads(self._answer())
        seconds = time.monotonic() - self._began
        out, err = (Path(self._logs.name, f"log.{name}").read_text() for name in ("out", "err"))
        return Ended(code, out, err, events, steps, seconds)

    def run(self, folder: Path, *words: object, **harm: Any) -> Ended:
        """Begin a run and wait for it."""
        self.start(folder, *words, **harm)
        return self.end()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()
