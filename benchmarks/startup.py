"""How long the program takes to begin: whole processes, and what they cost beyond the libraries.

One small image is restored with a small weights file, so that nearly all time is start-up.
Importing torch and deepinv, which no build can avoid, is timed in processes of its own by the same
turns and subtracted: the fastest from the fastest, because other programs only ever add.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from skimage.io import imsave

from benchmarks import machine, plots
from benchmarks.findings import verdict
from benchmarks.record import Column, Record, Row, Table, Value
from benchmarks.tables import MISSING, number
from benchmarks.timing import Timing, compare

#: Side of the image, and noise of the task that the weights name.
SIDE, SIGMA = 64, 0.1
#: Turns; one process of each kind in every turn, after one of each that is not timed.
TURNS = {True: 3, False: 15}
LIBRARIES = "python -c 'import torch, deepinv'"
HELP = "equipoise reconstruct --help"
RECONSTRUCT = "equipoise reconstruct"
#: Follows the name of what was run from another checkout.
EARLIER = ", other checkout"
#: Asked of the ratio to an earlier build, and hoped for.
REQUIRED, AIM = 0.5, 0.3

#: Makes weights with whatever build is imported.
_SAVE = f"""
import sys, torch
from equipoise.regularizers import Scaled, build, save_regularizer
torch.manual_seed(0)
field = Scaled(build("tied-conv", filters=8, kernel_size=5), strength=0.1)
save_regularizer(sys.argv[1], field, {{"task": {{"task": "denoise", "noise": {SIGMA}}}}})
"""

_COLUMNS = [
    Column("seconds", "whole process, median", "s"),
    Column("low", "whole process, fastest", "s"),
    Column("beyond", "beyond torch and deepinv", "s"),
]


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Time the processes by turns.

    The environment variable :data:`benchmarks.machine.AGAINST` may name another checkout, whose
    program then takes its turns too.
    """
    began = time.perf_counter()
    other = os.environ.get(machine.AGAINST)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as earlier:
        words = _write_inputs(Path(folder), machine.ROOT)
        commands = {
            LIBRARIES: partial(_process, machine.ROOT, ["-c", "import torch, deepinv"]),
            HELP: partial(_process, machine.ROOT, ["-m", "equipoise", "reconstruct", "--help"]),
            RECONSTRUCT: partial(_process, machine.ROOT, words),
        }
        if other:
            others = _write_inputs(Path(earlier), Path(other))
            commands[RECONSTRUCT + EARLIER] = partial(_process, Path(other), others)
        say(f"{TURNS[short]} turns of {len(commands)} processes")
        took = compare(commands, repeats=TURNS[short])
    return Record(
        name="startup",
        question="How long does the program take to begin?",
        settings={
            "image": [SIDE, SIDE],
            "regulariser": "tied-conv",
            "threads of a process": 1,
            "turns": TURNS[short],
        },
        machine=machine.describe(),
        tables=[
            Table(
                title="Processes",
                columns=_COLUMNS,
                rows=[Row(name, _values(each, took[LIBRARIES])) for name, each in took.items()],
                note=f"Restoring one image of {SIDE} x {SIDE}. The last column is of the fastest.",
                subject="process",
            )
        ],
        findings=_findings(took),
        seconds=time.perf_counter() - began,
    )


def plot(record: Record, path: Path) -> None:
    """Draw the seconds of each process."""
    seconds = [(row.label, row.values["seconds"]) for row in record.tables[0].rows]
    bars = [plots.Bar(label, float(value or 0)) for label, value in seconds]
    plots.save([plots.Bars("Whole processes", "s", bars)], path)


def _write_inputs(folder: Path, checkout: Path) -> list[str]:
    """Write an image, and weights as that build writes them; return the arguments of Python that
    restore the image."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    imsave(folder / "image.png", pixels, check_contrast=False)
    weights = folder / "small.safetensors"
    _process(checkout, ["-c", _SAVE, str(weights)])
    options = ["--weights", str(weights), "--overwrite"]
    return ["-m", "equipoise", "reconstruct", str(folder / "image.png"), *options]


def _process(checkout: Path, words: list[str]) -> None:
    """Run Python with the sources of a checkout, whose bytecode is kept as that of a package is.

    Raises:
        RuntimeError: if it fails; the message is what it said.
    """
    variables = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, *words], env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")


def _values(took: Timing, libraries: Timing) -> dict[str, Value]:
    return {
        "seconds": took.median,
        "low": took.low,
        "beyond": _beyond(took, libraries),
    }


def _beyond(took: Timing, libraries: Timing) -> float | None:
    """What the fastest process took longer than importing the libraries; None if it did not."""
    return took.low - libraries.low if took.low > libraries.low else None


def _findings(took: dict[str, Timing]) -> list[str]:
    own = _beyond(took[RECONSTRUCT], took[LIBRARIES])
    words = MISSING if own is None else number(own)
    sentences = [f"Restoring an image takes {words} s beyond importing torch and deepinv."]
    if RECONSTRUCT + EARLIER in took:
        other = _beyond(took[RECONSTRUCT + EARLIER], took[LIBRARIES])
        ratio = None if own is None or other is None else own / other
        sentences.append(verdict("That, over the other checkout", ratio, REQUIRED, AIM, "x"))
    return sentences
