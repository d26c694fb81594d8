"""Run benchmarks: ``python -m benchmarks NAME [--short]``; ``python -m benchmarks document``."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from rich.console import Console

from benchmarks.machine import AGAINST, DEVICE, ROOT
from benchmarks.record import Record, write_record
from equipoise.errors import EquipoiseError

#: Name -> what it measures. Each is a module of this package.
BENCHMARKS = {
    "evaluation": "cost of one evaluation, against the rate of convolutions and of memory",
    "forward": "solving the equation, against other packages",
    "hypergradient": "derivatives of solutions, against other packages",
    "training": "one step of training; time to a given PSNR",
    "growth": "growth with the number of pixels and of images",
    "memory": "peak memory",
    "startup": "how long the program takes to begin",
    "trust": "whether what solves say of themselves is true, on random problems",
}


class Benchmark(Protocol):
    """What a module of a benchmark provides."""

    def run(self, short: bool, say: Callable[[str], None]) -> Record:
        """Measure; ``say`` tells of progress."""

    def plot(self, record: Record, path: Path) -> None:
        """Draw the record into a PNG file."""


def load(name: str) -> Benchmark:
    """The module of a benchmark."""
    return cast(Benchmark, importlib.import_module(f"benchmarks.{name}"))


def record_path(name: str, short: bool) -> Path:
    """Where the record is written: full ones are kept with the sources."""
    folder = ROOT / ("results/bench" if short else "benchmarks/records")
    return folder / f"{name}.json"


def plot_path(name: str, short: bool) -> Path:
    """Where the figure is written."""
    folder = ROOT / ("results/bench" if short else "docs/images")
    return folder / f"speed-{name}.png"


def run(name: str, short: bool, console: Console) -> None:
    """Run one benchmark, print its tables, write record and figure."""
    from benchmarks.tables import print_record

    began = time.perf_counter()
    benchmark = load(name)
    record = benchmark.run(
        short, lambda text: console.print(f"[{time.perf_counter() - began:6.1f} s] {text}")
    )
    print_record(record, console)
    write_record(record, record_path(name, short))
    benchmark.plot(record, plot_path(name, short))


def main(words: list[str]) -> int:
    """Run what the command line asks for; several benchmarks in one process each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure speed, memory and truth. "
        + " ".join(f"{name}: {what}." for name, what in BENCHMARKS.items()),
    )
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all", "document"])
    parser.add_argument("--short", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--device", help="cpu or cuda; by default cuda where there is one")
    parser.add_argument("--against", metavar="PATH", help="startup: a checkout to compare with")
    given = parser.parse_args(words)
    if given.device:
        os.environ[DEVICE] = given.device
    if given.against:
        os.environ[AGAINST] = given.against
    names = list(dict.fromkeys(BENCHMARKS if "all" in given.names else given.names))
    if len(names) > 1:
        options = ["--short"] if given.short else []
        command = [sys.executable, "-m", "benchmarks", *options]
        return max(subprocess.run([*command, name], cwd=ROOT).returncode for name in names)
    console = Console(width=160, highlight=False, markup=False)
    try:
        if names == ["document"]:
            from benchmarks.document import fill

            fill()
        else:
            run(names[0], given.short, console)
    except EquipoiseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
