"""The command-line program."""

import os


def main() -> None:
    """Run the program with the arguments of the command line.

    Threads that wait for each other sleep (OpenMP would let them spin), so that a run beside other
    programs gets its share of the processors. Who sets ``OMP_WAIT_POLICY`` decides.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when PyTorch is imported

    from equipoise.cli.app import app

    app(prog_name="equipoise")
