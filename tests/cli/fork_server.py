"""Runs the program in forks of a process that has imported everything, and harms them if asked.

One JSON object a line on standard input: ``words``, ``folder`` (where it runs), ``log`` (stem of
the files for what it says), and what happens to it: see :func:`harm`. Answers, one a line: the
number of the process, then its exit status and how many events there were.

Events are what a run does to files in its folder, and the steps of trainings, studies and
restorations. They are counted, so that a run can be harmed at each of them.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Audit events of Python that change files.
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")


class Events:
    """Counts events and calls what is asked for at one of them."""

    def __init__(self, folder: Path) -> None:
        self.count, self.steps = 0, 0
        self.folder = str(folder)
        self.at: dict[int, Callable[[], None]] = {}
        self.at_step: dict[int, Callable[[], None]] = {}
        self.refused: dict[str, int] = {}
        self.busy = False

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook; what it raises is what the call raises."""
        if event not in CHANGES or self.busy or not arguments:
            return
        if event == "open" and not self.writes(arguments):
            return
        path = os.path.abspath(os.fsdecode(arguments[0])) if arguments[0] is not None else ""
        for place, number in self.refused.items():
            if path.startswith(place):
                raise OSError(number, os.strerror(number))
        if path.startswith(self.folder):
            self.count += 1
            self.call(self.at, self.count)

    def stepped(self) -> None:
        """A step of the computation."""
        self.count += 1
        self.steps += 1
        self.call(self.at, self.count)
        self.call(self.at_step, self.steps)

    def call(self, what: dict[int, Callable[[], None]], number: int) -> None:
        if number in what:
            self.busy = True
            try:
                what[number]()
            finally:
                self.busy = False

    @staticmethod
    def writes(arguments: tuple[Any, ...]) -> bool:
        path, mode, flags = (*arguments, None, None)[:3]
        if isinstance(path, int):
            return False
        wanted = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        return bool((flags or 0) & wanted) or bool(set(str(mode or "")) & set("wax+"))


def harm(job: dict[str, Any], events: Events) -> None:
    """Prepare what will happen.

    ``kill``: [signal, event] sends itself a signal. ``refuse``: {path: name of an error} lets every
    write there fail, from the step ``when`` on (0: from the beginning). ``room``: bytes that a file
    may have, from that step on. ``remove``: a folder that goes at that step.
    """
    if "kill" in job:
        number, event = job["kill"]
        events.at[event] = lambda: os.kill(os.getpid(), number)

    def begin() -> None:
        for place, name in job.get("refuse", {}).items():
            events.refused[place] = getattr(errno, name)
        if "room" in job:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["room"], resource.RLIM_INFINITY))
        if "remove" in job:
            shutil.rmtree(job["remove"])

    when = job.get("when", 0)
    if when:
        events.at_step[when] = begin
    else:
        begin()


def watch(events: Events) -> None:
    """Let the steps of every command be events, and checkpoints come after each step."""
    from equipoise.cli.display import Display, Lines
    from equipoise.cli.progress import TrainingBars
    from equipoise.learn import saving

    def counted(kind: type, name: str) -> None:
        usual = getattr(kind, name)

        def call(*arguments: Any, **options: Any) -> Any:
            events.stepped()
            return usual(*arguments, **options)

        setattr(kind, name, call)

    for kind, name in ((TrainingBars, "advanced"), (Lines, "begin"), (Lines, "update")):
        counted(kind, name)
    counted(Display, "begin")
    usual = saving.Saving.after_step

    def after_step(run: Any) -> None:
        run._due = 0.0
        usual(run)

    saving.Saving.after_step = after_step  # type: ignore[method-assign]


def run(job: dict[str, Any], report: int) -> None:
    """What a fork does; never returns."""
    log = Path(job["log"])
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(log.with_suffix(f".{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.chdir(job["folder"])
    tempfile.tempdir = job["temporary"]
    events = Events(Path(job["folder"]))
    watch(events)
    sys.addaudithook(events.heard)
    harm(job, events)
    sys.argv = ["equipoise", *job["words"]]
    from equipoise.cli import main

    code = 1
    try:
        main()
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    finally:
        events.busy = True
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(report, json.dumps([events.count, events.steps]).encode())
        os._exit(code)


def serve() -> None:
    from hurry import hurry

    import equipoise.cli.app
    import equipoise.cli.certifying
    import equipoise.cli.learning
    import equipoise.cli.restoration
    import equipoise.report
    import equipoise.report.figures.cases
    import equipoise.report.pages
    import equipoise.report.terminal
    import equipoise.study.run

    for study in ("rates", "convergence"):
        equipoise.study.run.STUDIES[study].run_case  # noqa: B018  (imports its module)
    hurry(setattr)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reading)
            run(job, writing)
        os.close(writing)
        print(process, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        counted = os.read(reading, 1000)
        os.close(reading)
        print(json.dumps([status, json.loads(counted or b"[0, 0]")]), flush=True)


if __name__ == "__main__":
    serve()
