"""``equipoise certify``: what is proved, and what only measured, of one equation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.outputs import make_folder, refuse_existing
from equipoise.cli.values import arguments, one_of, typed_command
from equipoise.errors import UsageError
from equipoise.settings.setting import OUTPUT, PROBLEM, SOLVING, Device, Seed
from equipoise.settings.task import Task


def certify(
    context: typer.Context,
    *,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="What 'equipoise train' wrote.",
            rich_help_panel=PROBLEM,
        ),
    ] = None,
    regularizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Instead of weights: tikhonov, tv, contractive, crr, ... as it is built.",
            rich_help_panel=PROBLEM,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Argument of the regularizer, for example filters=32; may be repeated.",
            rich_help_panel=PROBLEM,
        ),
    ] = None,
    problem: Annotated[Given, OptionsOf(Task)],
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE",
            help="The photograph that is measured, restored and certified. "
            "Default: an embedded one, camera.",
            rich_help_panel=PROBLEM,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=8,
            metavar="PIXELS",
            help="Side of the central crop that is used. "
            "Default: the whole IMAGE; 256 of the embedded photograph.",
            rich_help_panel=PROBLEM,
        ),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            metavar="A",
            help="Strength of R; with weights relative to what was learned.",
            rich_help_panel=SOLVING,
        ),
    ] = 1.0,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="T",
            help="Residual of the equation, relative to its scale.",
            rich_help_panel=SOLVING,
        ),
    ] = 2e-4,
    max_evaluations: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Limit of evaluations of the equation.",
            rich_help_panel=SOLVING,
        ),
    ] = 3000,
    probes: Annotated[
        int,
        typer.Option(
            min=2,
            metavar="N",
            help="Random probes of each estimate.",
            rich_help_panel=SOLVING,
        ),
    ] = 8,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the list of statements as JSON and nothing else.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write certificate.html (one page, opens offline) and certificate.json.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Certify one equation: constants, uniqueness, stability, errors, what R cannot reach.

    Every number is marked PROVED or ESTIMATED; where a hypothesis fails, it says
    which, by how much, and what would mend it. A photograph is measured with the
    task's noise and restored, so that its error can be bounded from both sides.

    Exit code 4 if the restoration did not converge; its certificate is given all
    the same, for the point that was reached.
    """
    chosen = one_of(context, weights=weights, regularizer=regularizer)
    if chosen["weights"] is None and chosen["regularizer"] is None:
        raise UsageError("Say what to certify: --weights FILE.safetensors or --regularizer NAME.")
    if chosen["weights"] is not None and set_:
        raise UsageError("--set belongs to --regularizer; weights have their own arguments.")
    files = [] if out is None else [out / "certificate.html", out / "certificate.json"]
    refuse_existing(files, overwrite)
    if out is not None:
        make_folder(out)
    from equipoise.cli.certifying import CertifyJob, certify_job, named_field
    from equipoise.cli.tasks import choose_task
    from equipoise.problems.pose import choose_device
    from equipoise.report.certificate_page import write_certificate
    from equipoise.report.certificate_terminal import print_certificate
    from equipoise.report.summary import json_text, write_json

    where = choose_device(device)
    field = named_field(chosen["weights"], chosen["regularizer"], arguments(set_), device=where)
    job = CertifyJob(
        field=field,
        task=choose_task(field.task, problem),
        truth=truth,
        size=size,
        alpha=alpha,
        tolerance=tolerance,
        max_evaluations=max_evaluations,
        probes=probes,
        seed=seed,
    )
    found = certify_job(job)
    if files:
        page, data = files
        command = typed_command(context)
        write_certificate(found.certificate, page, command=command, example=found.example)
        write_json(found.certificate.records(), data)
    if as_json:
        typer.echo(json_text(found.certificate.records()))
    else:
        console = Console()
        print_certificate(found.certificate, console)
        for note in found.example.notes:
            console.print(note, markup=False, soft_wrap=True)
        for file in files:
            console.print(f"Wrote {file}.", markup=False, soft_wrap=True)
    found.solution.check("error")
