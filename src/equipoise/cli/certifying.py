"""One certificate from options: measure a photograph, restore it, certify."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.certify import Certificate, certify
from equipoise.cli.display import Display
from equipoise.cli.jobs import CertifyJob, FieldChoice
from equipoise.cli.learning import named_regularizer
from equipoise.compare.evaluate import picture
from equipoise.equation import Equation
from equipoise.errors import UsageError
from equipoise.images import read_image, to_colour
from equipoise.images.data_range import far_from
from equipoise.metrics import psnr
from equipoise.problems.datasplit import centre_crop
from equipoise.problems.photographs import photograph_file
from equipoise.problems.pose import pose
from equipoise.problems.records import recorded_task
from equipoise.regularizers import Regularizer, Scaled, build, load_regularizer
from equipoise.report.pages import Example
from equipoise.settings.data_range import DataRange
from equipoise.settings.task import Task
from equipoise.shipped import Card, names, shipped
from equipoise.solve import solve
from equipoise.status import Solution
from equipoise.vectors import norm

#: The embedded photograph, for gray and for colour fields; no training uses either.
EMBEDDED = {1: "camera.png", 3: "astronaut.png"}
#: Side of its crop.
EMBEDDED_SIZE = 256


@dataclass(frozen=True)
class Certified:
    """A certificate with the photograph that it was made with.

    Args:
        certificate: the statements.
        example: the photograph and what was measured on it.
        solution: its restoration.
    """

    certificate: Certificate
    example: Example
    solution: Solution


@dataclass(frozen=True)
class Named:
    """What a user names.

    Args:
        regularizer: the field R.
        words: its name and origin, a phrase.
        task: the problem that it was trained for, if that is said.
        card: of weights that ship, which have a strength for each noise.
    """

    regularizer: Regularizer
    words: str
    task: Task | None = None
    card: Card | None = None


def named_field(choice: FieldChoice, device: torch.device, seed: int) -> Named:
    """Load weights, a user's or such as ship, or build a regulariser of the catalogue.

    Args:
        choice: which of them.
        device: where it computes.
        seed: of the initial weights of what is built.

    Raises:
        UnknownNameError: with the nearest valid name.
        UsageError: if weights that ship are given arguments.
        WeightsError: if the file is unusable.
    """
    weights, name = choice.weights, choice.regularizer
    if weights is not None:
        regularizer, record = load_regularizer(weights, device)
        return Named(regularizer, f"the regulariser of {weights.name}", recorded_task(record))
    assert name is not None
    if name in names():
        if choice.arguments:
            raise UsageError(f"--set is for what is built; {name} has been trained.")
        trained, card = shipped(name, device)
        return Named(trained, f"the regulariser {name}, which ships", card=card)
    found, config = named_regularizer(name, choice.arguments, names())
    said = "".join(f", {key} = {value}" for key, value in choice.arguments.items())
    torch.manual_seed(seed)
    return Named(build(found, **config).to(device), f"{name}{said}, as built")


def certify_job(
    job: CertifyJob,
    named: Named,
    task: Task,
    progress: Display | None = None,
) -> Certified:
    """Measure the photograph, restore it, and certify equation and restoration.

    Args:
        job: photograph, strength, accuracy.
        named: the field R, which gets the strength for the noise if it ships.
        task: the inverse problem.
        progress: told of what is being done.

    Raises:
        InputError: if the photograph cannot be read or does not fit the problem.
        UsageError: if regulariser and problem do not fit together.
    """
    regularizer = named.regularizer
    like = next(regularizer.parameters(), torch.zeros(()))
    truth, name, odd = _photograph(job, regularizer.channels, task.range)
    truth = truth.to(like)
    shape = tuple(truth.shape[1:])
    problem = pose(task, shape, seed=job.seed, dtype=like.dtype, device=like.device)
    if named.card is not None and problem.sigma > 0:
        assert isinstance(regularizer, Scaled)
        regularizer.set_scales(*named.card.scales(problem.sigma))
    y = problem.measure(truth, torch.Generator().manual_seed(job.seed))
    start = problem.start(y)
    equation = Equation(problem.physics, y, regularizer, job.alpha)
    progress = progress or Display()
    progress.begin(f"Restoring {name}")
    solution = solve(equation, start, tolerance=job.tolerance, max_evaluations=job.max_evaluations)
    progress.end()

    def part(what: str, done: int, total: int) -> None:
        if done == 0:
            progress.begin("Certifying", total, "parts")
        progress.update(done, what)

    found = certify(
        equation, x=solution.x, truth=truth, probes=job.probes, seed=job.seed, on_part=part
    )
    progress.end()
    channels, height, width = truth.shape[1:]
    subject = (
        f"{problem.description} R: {named.words}; alpha = {job.alpha:g}; "
        f"{width} x {height} pixels{', colour' if channels == 3 else ''}."
    )
    notes = (
        f"{name}: PSNR {float(psnr(start, truth)):.2f} dB at the starting point, "
        f"{float(psnr(solution.x, truth)):.2f} dB restored.",
        solution.summary(),
        *odd,
        *problem.notes,
    )
    example = Example(
        name=name,
        truth=picture(truth),
        degraded=picture(start),
        reconstruction=picture(solution.x),
        error=float(norm(solution.x - truth)),
        notes=notes,
    )
    return Certified(Certificate(subject, found.sections), example, solution)


def _photograph(
    job: CertifyJob, channels: int | None, data_range: DataRange | None
) -> tuple[Tensor, str, list[str]]:
    """The truth (1, C, H, W), what it is called, and what is odd about it."""
    file = photograph_file(EMBEDDED[3 if channels == 3 else 1]) if job.truth is None else job.truth
    size = EMBEDDED_SIZE if job.truth is None and job.size is None else job.size
    image, chosen = read_image(file), None if job.truth is None else data_range
    pixels = image.unit_pixels(chosen)
    warning = far_from(pixels, image.range(chosen))
    pixels = to_colour(pixels) if channels == 3 else pixels
    height, width = pixels.shape[1:]
    if size is not None and size > min(height, width):
        raise UsageError(
            f"--size {size} is more than '{file.name}' has ({width} x {height}); take a smaller "
            "one, or a larger photograph with --truth IMAGE."
        )
    name = f"Embedded photograph {file.stem}" if job.truth is None else file.name
    cut = pixels if size is None else centre_crop(pixels, size)
    return cut[None], name, [] if warning is None else [warning]
