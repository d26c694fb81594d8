"""This build beside another checkout of it, by turns in one run, one thread each.

    python -m benchmarks.versions PATH [--turns N]

PATH is the root of the other checkout. Both builds run the cases of ``versions_worker.py`` in
processes that stay; in each turn each of them times each case once, the other checkout first in
every second turn. Printed are the fastest times, their ratio (the other checkout's over this
one's: above 1 this build is faster), and the quartiles of the ratios turn by turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.instances import FOLDER, data_folder
from benchmarks.machine import ROOT

#: Turns, unless said otherwise.
TURNS = 8
#: What is timed.
CASES = (
    "evaluation",
    "forward, denoising",
    "forward, inpainting",
    "hypergradient",
    "source-condition step",
    "Jacobian penalty step",
)


class Build:
    """A process that times cases with the sources of one checkout.

    Args:
        checkout: root of the checkout.
        stack: ends the process.
    """

    def __init__(self, checkout: Path, stack: ExitStack) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-P", str(ROOT / "benchmarks" / "versions_worker.py")],
                env={
                    **os.environ,
                    "PYTHONPATH": str(checkout / "src"),
                    "OMP_NUM_THREADS": "1",
                    FOLDER: str(data_folder("")),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def seconds(self, case: str) -> float:
        """Let the process time a case.

        Raises:
            SystemExit: if the process has failed; what it said stands on standard error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(case, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"The case {case!r} failed.")
        return float(answer)


def turns(other: Path, count: int, console: Console) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the other checkout and of this one, case by case and turn by turn."""
    found: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
    with ExitStack() as stack:
        builds = [Build(other.resolve(), stack), Build(ROOT, stack)]
        for turn in range(count):
            console.print(f"turn {turn + 1} of {count}")
            order = builds[:: -1 if turn % 2 else 1]
            for case, pairs in found.items():
                took = {build: build.seconds(case) for build in order}
                pairs.append((took[builds[0]], took[builds[1]]))
    return found


def main(words: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("path", type=Path, help="root of the other checkout")
    parser.add_argument("--turns", type=int, default=TURNS)
    given = parser.parse_args(words)
    if not (given.path / "src" / "equipoise").is_dir():
        parser.error(f"{given.path} holds no src/equipoise.")
    if given.turns < 2:
        parser.error("--turns: at least 2, for quartiles.")
    console = Console(highlight=False)
    found = turns(given.path, given.turns, console)
    table = Table("case", "other, ms", "this, ms", "other over this", "quartiles of the turns")
    for case, pairs in found.items():
        low, _, high = statistics.quantiles([before / after for before, after in pairs], n=4)
        before, after = (min(seconds) for seconds in zip(*pairs, strict=True))
        numbers = f"{1e3 * before:.1f}", f"{1e3 * after:.1f}", f"{before / after:.2f}"
        table.add_row(case, *numbers, f"{low:.2f} to {high:.2f}")
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
