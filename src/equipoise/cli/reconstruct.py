"""``equipoise reconstruct``: restore images with learned weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from equipoise.cli.jobs import MeasuredSettings, SolvingSettings
from equipoise.cli.options import Given, OptionsOf, Overwrite
from equipoise.cli.tables import require_convergence
from equipoise.cli.values import typed_command
from equipoise.settings.setting import OUTPUT, PROBLEM
from equipoise.settings.task import Task
from equipoise.shipped.default import COLOUR, DEFAULT


def reconstruct(
    context: typer.Context,
    *,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE",
            help="PNG, JPEG, TIFF, BMP, PGM, PPM or NPY files, or folders of them.",
            show_default=False,
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="What 'equipoise train' wrote. Default: weights that ship with the program.",
            rich_help_panel=PROBLEM,
            show_default=False,
        ),
    ] = None,
    regularizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which of the weights that ship ('equipoise models'), a folder of weights, or "
            "OWNER/NAME on the Hugging Face hub. "
            f"Default: {DEFAULT}, {COLOUR} for colour images.",
            rich_help_panel=PROBLEM,
            show_default=False,
        ),
    ] = None,
    problem: Annotated[Given, OptionsOf(Task)],
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Take the images as the truth: degrade them (noise, mask, blur), restore them, "
            "show the PSNR before and after.",
            rich_help_panel=PROBLEM,
        ),
    ] = False,
    files: Annotated[Given, OptionsOf(MeasuredSettings)],
    solving: Annotated[Given, OptionsOf(SolvingSettings)],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where restored images go; for one IMAGE it may be a file. "
            "Default: next to each image.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with this same command where it was killed: what it has restored is kept.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Restore images; report residual, error bound where one holds, and evaluations.

    An IMAGE is the measurement; IMAGE_restored.EXT is written (PNG for JPEG, BMP,
    PGM, PPM) with its depth and alpha. Inputs are never overwritten. With weights that ship the
    strength follows from the noise, which is estimated unless --noise says it; with weights of
    yours task and options are theirs unless given here (an operator must be given).

    Exit code 4 if an image did not converge; it is written all the same.
    """
    from equipoise.cli.inputs import image_files, may_miss, plan_jobs, require_known_mask
    from equipoise.cli.journal import Journal
    from equipoise.cli.restoration import restore_all
    from equipoise.cli.restoring import Restorer
    from equipoise.cli.tasks import choose_task
    from equipoise.cli.weights import Learned, weights_for
    from equipoise.problems.pose import choose_device
    from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions

    chosen = SolvingSettings(**solving)
    where = choose_device(chosen.device)
    learned = weights_for(weights, regularizer, where)
    restored = choose_task(learned.task, problem)
    measured = MeasuredSettings(**files)
    measured.refuse_idle(restored.name, simulate)
    images = image_files(images)
    require_known_mask(restored, simulate, images)
    jobs = plan_jobs(images, out, simulate, may_miss(restored, simulate))
    limits = SolveOptions(tolerance=chosen.tolerance, max_evaluations=chosen.max_evaluations)
    said = "noise" in problem

    def restorer(learned: Learned, colour: Restorer | None = None) -> Restorer:
        alpha, words = learned.strength(chosen.alpha, restored, said=said, simulate=simulate)
        if words:
            Console().print(words, markup=False, soft_wrap=True)
        return Restorer(
            model=EquilibriumReconstructor(learned.regularizer, alpha, options=limits).to(where),
            task=restored,
            measured=measured,
            simulate=simulate,
            seed=chosen.seed,
            noise=learned.noise(restored, said=said),
            values=learned.values,
            card=learned.card,
            colour=colour,
        )

    colour = None
    if weights is None and regularizer is None:
        colour = restorer(weights_for(None, COLOUR, where))
    rows = restore_all(
        restorer(learned, colour),
        jobs,
        Journal(jobs[0].restored.parent, typed_command(context), images),
        resume=resume,
        overwrite=overwrite,
    )
    require_convergence(rows)
