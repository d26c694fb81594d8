"""The program: its commands and its version."""

from __future__ import annotations

from typing import Annotated

import typer

from equipoise.cli.certify import certify
from equipoise.cli.compare import compare
from equipoise.cli.examples import CERTIFY, COMPARE, MODELS, PROGRAM, RECONSTRUCT, STUDY, TRAIN
from equipoise.cli.models import models
from equipoise.cli.options import with_options
from equipoise.cli.reconstruct import reconstruct
from equipoise.cli.study import study
from equipoise.cli.train import train

app = typer.Typer(
    name="equipoise",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from equipoise import __version__

        typer.echo(f"equipoise {__version__}")
        raise typer.Exit()


@app.callback(epilog=PROGRAM)
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Learned regularisation of inverse problems in imaging: solve, learn, compare, certify.

    Exit codes: 0 done, 2 bad use, 3 bad input, 4 not converged, 1 anything unexpected.
    """


for _command, _examples in (
    (compare, COMPARE),
    (train, TRAIN),
    (reconstruct, RECONSTRUCT),
    (models, MODELS),
    (certify, CERTIFY),
    (study, STUDY),
):
    app.command(epilog=_examples)(with_options(_command))
