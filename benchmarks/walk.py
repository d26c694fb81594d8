"""How many source files one evaluation of the equation leads through.

    python -m benchmarks.walk

Counts, with a profiler, the functions of equipoise that one ``Equation.potential_and_residual``
calls, the files they stand in, and how often the file changes from one call to the next. The
equation is denoising of 64 x 64 pixels with a scaled convex ridge regulariser.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType

import torch
from deepinv.physics import Denoising

import equipoise
from equipoise import Equation, build

ROOT = Path(equipoise.__file__).parent


def walk(function: Callable[[], object]) -> list[str]:
    """The files of equipoise whose functions are called, in the order of the calls."""
    files: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            files.append(str(path.relative_to(ROOT)))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return files


def evaluation() -> list[str]:
    """The files of one evaluation of the potential and the residual."""
    torch.manual_seed(0)
    y = torch.rand(1, 1, 64, 64)
    equation = Equation(Denoising(), y, build("scaled", inner={"name": "crr"}), 0.1)
    equation.potential_and_residual(y)  # what is found out once is known from here on
    return walk(lambda: equation.potential_and_residual(y))


def main() -> None:
    """Print the counts and the files."""
    files = evaluation()
    changes = sum(a != b for a, b in pairwise(files))
    print(f"{len(files)} calls, {len(set(files))} files, {changes} changes of file:")
    print(", ".join(dict.fromkeys(files)))


if __name__ == "__main__":
    main()
