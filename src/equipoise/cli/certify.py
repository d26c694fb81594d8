"""``equipoise certify``: what is proved, and what only measured, of one equation."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from equipoise.cli.jobs import CertifyJob, FieldChoice
from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import make_folder, refuse_existing
from equipoise.cli.values import typed_command
from equipoise.errors import UsageError
from equipoise.settings.setting import OUTPUT
from equipoise.settings.task import Task


def certify(
    context: typer.Context,
    *,
    choice: Annotated[Given, OptionsOf(FieldChoice)],
    problem: Annotated[Given, OptionsOf(Task)],
    given: Annotated[Given, OptionsOf(CertifyJob)],
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the list of statements as JSON and nothing else.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Certify one equation: constants, uniqueness, stability, errors, what R cannot reach.

    Every number is marked PROVED or ESTIMATED; where a hypothesis fails, it says
    which, by how much, and what would mend it. A photograph is measured with the
    task's noise and restored, so that its error can be bounded from both sides.

    Exit code 4 if the restoration did not converge; its certificate is given all
    the same, for the point that was reached.
    """
    if "weights" not in choice and "regularizer" not in choice:
        raise UsageError("Say what to certify: --weights FILE.safetensors or --regularizer NAME.")
    if "weights" in choice and "arguments" in choice:
        raise UsageError("--set belongs to --regularizer; weights have their own arguments.")
    job = CertifyJob(**given)
    files = []
    if job.out is not None:
        files = [job.out / "certificate.html", job.out / "certificate.json"]
        refuse_existing(files, overwrite)
        make_folder(job.out)

    from equipoise.cli.certifying import certify_job, named_field
    from equipoise.cli.tasks import choose_task
    from equipoise.files import atomic_write
    from equipoise.problems.pose import choose_device
    from equipoise.report.pages import certificate_page
    from equipoise.report.terminal import print_certificate
    from equipoise.strict_json import json_text, write_json

    device = choose_device(job.device)
    regularizer, words, usual = named_field(FieldChoice(**choice), device, job.seed)
    found = certify_job(job, regularizer, words, choose_task(usual, problem))
    if files:
        page, data = files
        command = typed_command(context)
        atomic_write(page, certificate_page(found.certificate, found.example, command))
        write_json(found.certificate.records(), data)
    if as_json:
        typer.echo(json_text(found.certificate.records()))
    else:
        console = Console()
        print_certificate(found.certificate, found.example.truth.size, console)
        for note in found.example.notes:
            console.print(note, markup=False, soft_wrap=True)
        for file in files:
            console.print(f"Wrote {file}.", markup=False, soft_wrap=True)
    found.solution.check("error")
