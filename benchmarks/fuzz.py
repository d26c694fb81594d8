"""Read damaged files as the program does, and count: ``python -m benchmarks.fuzz``.

A file that is read, or refused with an error of the program's own, is as it should be. Anything
else that is raised is a failure of the program. A crash or hang is told apart by where it happened;
what led to one in other software is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import torch

from benchmarks.fuzz_files import KINDS, valid
from benchmarks.fuzz_mutations import mutated
from equipoise.errors import EquipoiseError

#: Limits of one mutant.
SECONDS, BYTES = 20.0, 2 * 2**30
#: Mutants after which a process is replaced, so that what decoders leak does not add up.
RENEWED = 5000
#: Mutants of one kind before the next kind has its turn.
ROUND = 250
#: Folder of the program's own code.
_OURS = str(Path(__file__).resolve().parent.parent / "src")


@dataclass
class Count:
    """What became of the mutants of one kind.

    Args:
        read: were read.
        plain: were refused with an error of the program's own.
        memory: of these, because they asked for more memory than the limit.
        other: another exception, and where it was raised -> how many, and the first mutant.
        crashes: of the process, and where -> how many.
        hangs: where -> how many.
        slowest: seconds of the slowest that ended.
    """

    read: int = 0
    plain: int = 0
    memory: int = 0
    other: dict[str, tuple[int, int]] = field(default_factory=dict)
    crashes: Counter[str] = field(default_factory=Counter)
    hangs: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    @property
    def mutants(self) -> int:
        """How many."""
        failed = sum(number for number, _ in self.other.values())
        return self.read + self.plain + failed + self.crashes.total() + self.hangs.total()


@cache
def _valid(kind: str) -> dict[str, bytes]:
    return valid(KINDS[kind])


def mutant(kind: str, seed: int, index: int) -> tuple[str, bytes]:
    """Name and content of one mutant; the same whenever it is asked for."""
    random = Random(f"{kind} {seed} {index}")
    files, change, mend = _valid(kind), KINDS[kind].change, KINDS[kind].mend
    name = random.choice(list(files))
    if change and random.random() < 0.5:
        return name, change(files[name], random)
    content = mutated(files[name], list(files.values()), random)
    return name, mend(content, files[name]) if mend and random.random() < 0.8 else content


def outcome(kind: str, file: Path) -> tuple[str, str]:
    """Read one file: ``read``, ``plain``, ``memory`` or ``other``, and for the last where."""
    try:
        KINDS[kind].read(file)
    except EquipoiseError as error:
        return ("memory" if "more memory than there is" in str(error) else "plain"), ""
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if frame.filename.startswith(_OURS)]
        place = (ours or frames)[-1]
        return "other", f"{type(error).__name__} in {Path(place.filename).name}:{place.name}"
    return "read", ""


def _serve(pipe: Connection, other_end: Connection, seed: int, log: Path) -> None:
    """Read the mutants that the other process asks for, until it closes the pipe or ends."""
    torch.set_num_threads(1)  # other threads did not come along when this process was forked
    other_end.close()  # a copy of ours would keep the pipe open when the other process is killed
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with log.open("w") as stream, tempfile.TemporaryDirectory(dir=log.parent) as folder:
        faulthandler.enable(stream, all_threads=False)
        faulthandler.register(signal.SIGUSR1, stream, all_threads=False)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(EOFError):
            while True:
                kind, start, stop = pipe.recv()
                for index in range(start, stop):
                    name, content = mutant(kind, seed, index)
                    file = Path(folder) / name
                    file.write_bytes(content)
                    began = time.perf_counter()
                    found = outcome(kind, file)
                    pipe.send((*found, time.perf_counter() - began))


class Reader:
    """A process that reads mutants, and is replaced when it ends or does not answer.

    Args:
        seed: of the mutants.
        folder: for what processes write.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.log = seed, folder / "log"
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, there = context.Pipe()
        self.process: Any = context.Process(
            target=_serve, args=(there, self.pipe, self.seed, self.log), daemon=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python 3.12 on: threads are not copied
            self.process.start()
        there.close()
        self.served = 0

    def ask(self, kind: str, start: int, stop: int, count: Count) -> None:
        """Have mutants read, and count what became of each."""
        if self.served >= RENEWED:
            self._renew()
        self.served += stop - start
        self.pipe.send((kind, start, stop))
        for index in range(start, stop):
            told = self._told(count)
            if told is not None:
                self._add(count, *told, index)
            else:
                self._renew()
                if index + 1 < stop:
                    self.pipe.send((kind, index + 1, stop))

    def _told(self, count: Count) -> tuple[str, str, float] | None:
        """What became of one mutant; None if the process has to be replaced."""
        try:
            if self.pipe.poll(SECONDS):
                told: tuple[str, str, float] = self.pipe.recv()
                return told
            os.kill(self.process.pid, signal.SIGUSR1)  # says where it is
            time.sleep(0.2)
            self.end()
            count.hangs[self._where()] += 1
        except (EOFError, ConnectionError):
            self.end()
            count.crashes[self._where()] += 1
        return None

    def _add(self, count: Count, found: str, where: str, seconds: float, index: int) -> None:
        count.slowest = max(count.slowest, seconds)
        if found == "read":
            count.read += 1
        elif found == "other":
            number, first = count.other.get(where, (0, index))
            count.other[where] = (number + 1, first)
        else:
            count.plain += 1
            count.memory += found == "memory"

    def _renew(self) -> None:
        self.end()
        self._start()

    def end(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(0.5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _where(self) -> str:
        """The innermost function of Python that the process wrote down."""
        lines = self.log.read_text(errors="replace").splitlines()
        frames = [line.split('"') for line in lines if line.startswith("  File ")]
        if not frames:
            return f"unknown (exit code {self.process.exitcode})"
        path = Path(frames[0][1])
        package = next((p.name for p in path.parents if p.parent.name == "site-packages"), "")
        return f"{package or path.name} ({frames[0][2].rpartition(' in ')[2]})"


def fuzz(
    kinds: list[str], mutants: int, seed: int, seconds: float | None = None
) -> Iterator[dict[str, Count]]:
    """Have mutants of all kinds read in turns; yields the counts after every turn.

    Args:
        kinds: names in :data:`KINDS`.
        mutants: of each kind.
        seed: decides all of them.
        seconds: after which no turn begins.
    """
    began = time.perf_counter()
    counts = {kind: Count() for kind in kinds}
    for kind in kinds:
        _valid(kind)
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(seed, Path(folder))
        try:
            for start in range(0, mutants, ROUND):
                for kind in kinds:
                    reader.ask(kind, start, min(start + ROUND, mutants), counts[kind])
                yield counts
                if seconds is not None and time.perf_counter() - began > seconds:
                    return
        finally:
            reader.end()


def table(counts: dict[str, Count]) -> str:
    """The counts in Markdown."""
    heads = (
        "| kind | mutants | read | refused | for memory | other error | crash | hang | slowest |"
    )
    rows = [heads, "|---|---|---|---|---|---|---|---|---|"]
    for kind, count in counts.items():
        other = sum(number for number, _ in count.other.values())
        numbers = (count.mutants, count.read, count.plain, count.memory, other)
        ends = (count.crashes.total(), count.hangs.total())
        cells = " | ".join(f"{number:,}" for number in (*numbers, *ends))
        rows.append(f"| {kind} | {cells} | {count.slowest:.2f} s |")
    return "\n".join(rows)


def failures(counts: dict[str, Count]) -> list[str]:
    """A line for each kind of failure."""
    lines = []
    for kind, count in counts.items():
        for where, (number, first) in count.other.items():
            lines.append(f"{kind}: {number} times {where}, first by mutant {first}")
        lines += [f"{kind}: {n} crashes in {where}" for where, n in count.crashes.items()]
        lines += [f"{kind}: {n} hangs in {where}" for where, n in count.hangs.items()]
    return lines


def main(words: list[str]) -> int:
    """Run what the command line asks for; 1 if anything but a plain error was raised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--mutants", type=int, default=1000, help="of each kind (default: 1000)")
    parser.add_argument("--seconds", type=float, help="begin no turn after so long")
    parser.add_argument("--seed", type=int, default=0, help="of all mutants (default: 0)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default: all")
    given = parser.parse_args(words)
    kinds = [kind for kind in given.kinds.split(",") if kind]
    strange = [kind for kind in kinds if kind not in KINDS]
    if strange:
        parser.error(f"unknown kinds {', '.join(strange)}; there are {', '.join(KINDS)}")
    counts: dict[str, Count] = {}
    began = time.perf_counter()
    for counts in fuzz(kinds, given.mutants, given.seed, given.seconds):
        done = sum(count.mutants for count in counts.values())
        lines = failures(counts)
        say = (
            f"{time.perf_counter() - began:8.1f} s  {done:,} mutants, {len(lines)} kinds of failure"
        )
        print("\n  ".join([say, *lines]), file=sys.stderr, flush=True)
    print(table(counts))
    for line in failures(counts):
        print(line)
    return 1 if any(count.other for count in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
