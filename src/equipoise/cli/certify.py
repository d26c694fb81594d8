"""``equipoise certify``: what is proved, and what only measured, of one equation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from equipoise.cli.display import display
from equipoise.cli.jobs import CertifyJob, FieldChoice
from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import Rescue, reserved
from equipoise.cli.values import typed_command
from equipoise.environment import run_id
from equipoise.errors import UsageError
from equipoise.settings.setting import OUTPUT
from equipoise.settings.task import Task

if TYPE_CHECKING:
    from equipoise.cli.certifying import Certified


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
    out = job.out
    files = [] if out is None else [out / "certificate.html", out / "certificate.json"]
    with reserved(files, folder=out, overwrite=overwrite):
        found = _certified(job, FieldChoice(**choice), problem)
        _show(found, as_json)
        _write(found, files, typed_command(context))
    if not as_json:
        for file in files:
            Console().print(f"Wrote {file}.", markup=False, soft_wrap=True)
    found.solution.check("error")


def _certified(job: CertifyJob, choice: FieldChoice, problem: Given) -> Certified:
    from equipoise.cli.certifying import certify_job, named_field
    from equipoise.cli.tasks import choose_task
    from equipoise.problems.pose import choose_device

    named = named_field(choice, choose_device(job.device), job.seed)
    with display() as progress:
        return certify_job(job, named, choose_task(named.task, problem), progress)


def _show(found: Certified, as_json: bool) -> None:
    from equipoise.report.terminal import print_certificate
    from equipoise.strict_json import json_text

    if as_json:
        typer.echo(json_text(found.certificate.records()))
    else:
        console = Console()
        print_certificate(found.certificate, found.example.truth.size, console)
        for note in found.example.notes:
            console.print(note, markup=False, soft_wrap=True)


def _write(found: Certified, files: list[Path], command: str) -> None:
    from equipoise.files import atomic_write
    from equipoise.report.pages import certificate_page
    from equipoise.strict_json import write_json

    if not files:
        return
    page, data = files
    rescue = Rescue()
    text = certificate_page(found.certificate, found.example, command, run_id())
    rescue.write(page, lambda path: atomic_write(path, text))
    rescue.write(data, lambda path: write_json(found.certificate.records(), path))
    rescue.finish()
