"""The command-line program."""

import os


def main() -> None:
    """Run the program with the arguments of the command line.

    Threads that wait for each other look ten thousand times and then sleep. OpenMP would let them
    look thirty times as long, in which they keep other programs, and each other, from work; to
    sleep sooner costs time on a quiet machine (``python -m benchmarks.threads``). Who sets one of
    the variables decides.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # read when PyTorch is imported

    from equipoise.cli.app import app

    app(prog_name="equipoise")
