"""Restore one image file after the other with learned weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.images import Image, lossless_name, read_image, write_image
from equipoise.metrics import psnr
from equipoise.problems import FixedMask, Problem
from equipoise.problems.masks import NAN, mask_of_nan
from equipoise.problems.pose import pose
from equipoise.problems.problem import Shape
from equipoise.problems.tasks import Padding
from equipoise.problems.tomography import image_side
from equipoise.reconstructor import EquilibriumReconstructor
from equipoise.settings.task import Task
from equipoise.status import Status


@dataclass(frozen=True)
class Job:
    """One input and the files that come of it.

    Args:
        source: the image file.
        restored: where the restored image goes.
        degraded: where the simulated measurement goes; None where nothing is simulated.
    """

    source: Path
    restored: Path
    degraded: Path | None

    @property
    def outputs(self) -> list[Path]:
        """Every file that is written."""
        return [self.restored] if self.degraded is None else [self.restored, self.degraded]


@dataclass(frozen=True)
class Restored:
    """What a restoration reports, one row of the table.

    Args:
        job: files.
        residual: of the equation, relative to its scale.
        error_bound: proved bound on the distance to the exact equilibrium, or None.
        evaluations: of the equation.
        status: why the solve ended.
        seconds: of the solve.
        psnr_input: of the starting point, in dB; None where the truth is not known.
        psnr: of the restored image, likewise.
        notes: plain sentences about what was made of the user's options.
    """

    job: Job
    residual: float
    error_bound: float | None
    evaluations: int
    status: Status
    seconds: float
    psnr_input: float | None
    psnr: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restorer:
    """Everything that restoring one image needs besides the image.

    Args:
        model: the equation's reconstructor with the learned regulariser.
        task: the inverse problem.
        padding: of the blur.
        simulate: whether images are the truth, to be degraded first.
        seed: of simulated noise and random masks.
    """

    model: EquilibriumReconstructor
    task: Task
    padding: Padding
    simulate: bool
    seed: int

    def restore(self, job: Job, inputs: list[Path]) -> Restored:
        """Read, measure where simulated, solve, write.

        Args:
            job: files.
            inputs: all inputs; none of them is overwritten.

        Raises:
            InputError: if the image cannot be read or does not fit the problem.
        """
        image = read_image(job.source, missing=may_miss(self.task, self.simulate))
        if self.task.mask == NAN and not self.simulate:
            mask = mask_of_nan(image.missing, job.source.name)
            task = self.task.model_copy(update={"mask": mask})
            return replace(self, task=task).restore(job, inputs)
        if self._sinograms and image.depth.maximum is not None:
            raise InputError(
                f"'{job.source}' holds integers: measurements of tomography are floating-point "
                "files (NPY or TIFF) of shape (detectors, directions). To try the weights on a "
                "clean image, add --simulate."
            )
        pixels = image.pixels[None].to(self._like())
        problem = self._problem(tuple(pixels.shape[1:]), job.source)
        _refuse_known_nan(image, problem, job.source)
        if image.alpha is not None and problem.image_shape[1:] != pixels.shape[2:]:
            raise InputError(
                f"'{job.source}' has an alpha channel, but the restored image has another size: "
                "save it without alpha, or pose the problem with circular padding."
            )
        y = pixels
        if self.simulate:
            y = problem.measure(pixels, torch.Generator().manual_seed(self.seed))
        start = problem.start(y)
        solution = self.model.solve(y, problem.physics, start)
        write_image(job.restored, _filled(image, solution.x), never=inputs)
        if job.degraded is not None:
            clipped = self.task.name == "tomography" and image.depth.maximum is not None
            shown = start if clipped else _viewable(y, start)
            write_image(job.degraded, _filled(image, shown), never=inputs)
        bound = solution.error_bound
        return Restored(
            job=job,
            residual=float(solution.relative_residual[0]),
            error_bound=None if bound is None else float(bound[0]),
            evaluations=int(solution.evaluations[0]),
            status=solution.statuses[0],
            seconds=solution.seconds,
            psnr_input=float(psnr(start, pixels)) if self.simulate else None,
            psnr=float(psnr(solution.x, pixels)) if self.simulate else None,
            notes=problem.notes,
        )

    def _problem(self, file_shape: Shape, source: Path) -> Problem:
        """The problem whose images (or, for measured files, measurements) have the file's shape.

        Raises:
            InputError: if no image shape fits.
        """
        if self._sinograms:
            return self._tomograph(file_shape, source)
        problem = self._posed(file_shape)
        found = problem if self.simulate else problem.for_measured(file_shape)
        if found is None:
            raise InputError(
                f"'{source}' of shape {file_shape} is no measurement of {problem.name}: images of "
                f"that shape give measurements of shape {problem.measured_shape}."
            )
        return found

    @property
    def _sinograms(self) -> bool:
        """Whether the files hold measurements of a tomograph, no images."""
        return self.task.name == "tomography" and not self.simulate

    def _tomograph(self, file_shape: Shape, source: Path) -> Problem:
        """The tomograph whose measurements have the file's shape; its images are square.

        Raises:
            InputError: if there is none.
        """
        side = image_side(file_shape[1])
        if side is not None:
            problem = self._posed((file_shape[0], side, side))
            if problem.measured_shape == file_shape:
                return problem
        raise InputError(
            f"'{source}' of shape {file_shape} is no measurement of tomography: its files hold "
            "(detectors, directions) with the directions of --angles, and as many detectors as the "
            "square image's side times the root of two, rounded up (182 for 128 pixels)."
        )

    def _like(self) -> Tensor:
        """A tensor of the precision and on the device of the weights."""
        return next(self.model.regularizer.parameters(), torch.zeros(()))

    def _posed(self, image_shape: Shape) -> Problem:
        return pose(
            self.task,
            image_shape,
            padding=self.padding,
            seed=self.seed,
            dtype=self._like().dtype,
            device=self._like().device,
        )


def may_miss(task: Task, simulate: bool) -> bool:
    """Whether files may have NaN, in place of missing pixels."""
    return task.name == "inpaint" and not simulate


def plan_jobs(
    images: list[Path], out: Path | None, simulate: bool, missing: bool = False
) -> list[Job]:
    """Name the outputs of every input, and read each input once so that bad ones stop nothing late.

    Args:
        images: the inputs.
        out: folder of the outputs; None is each input's own.
        simulate: whether degraded images are written, too.
        missing: whether NaN marks missing pixels.

    Raises:
        InputError: if an input cannot be read.
        UsageError: if two inputs would give the same output.
    """
    jobs = []
    for source in images:
        read_image(source, missing=missing)
        restored, degraded = (
            lossless_name((out or source.parent) / f"{source.stem}_{what}{source.suffix}")
            for what in ("restored", "degraded")
        )
        jobs.append(Job(source, restored, degraded if simulate else None))
    names = [job.restored for job in jobs]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"Several inputs would be restored to {', '.join(twice)}: restore them one by one "
            "with different --out."
        )
    return jobs


def require_known_mask(task: Task, simulate: bool) -> None:
    """Refuse to guess which pixels of a measured image are known.

    Raises:
        UsageError: if the mask is random though the images are measured.
    """
    if not may_miss(task, simulate) or isinstance(task.mask, FixedMask) or task.mask == NAN:
        return
    raise UsageError(
        "To restore measured images, say which pixels are known: --mask IMAGE, white where they "
        "are, or --mask nan where the files have NaN for missing ones; to try the weights on a "
        "clean image, add --simulate."
    )


def known_padding(name: str, task: Task) -> Padding:
    """The padding of that name.

    Raises:
        UnknownNameError: if there is none.
        UsageError: if the task has no padding to choose.
    """
    if name not in get_args(Padding):
        raise UnknownNameError("padding", name, get_args(Padding))
    if name != "circular" and task.name != "deblur":
        raise UsageError("--padding belongs to --task deblur.")
    return cast(Padding, name)


def _refuse_known_nan(image: Image, problem: Problem, source: Path) -> None:
    """Refuse NaN in pixels that the mask of inpainting knows.

    Raises:
        InputError: saying so.
    """
    if image.missing is not None and bool(problem.physics.mask[0, :1].cpu()[image.missing].any()):
        raise InputError(
            f"'{source}' has NaN where the mask says that pixels are known: mark them as missing, "
            "or take --mask nan."
        )


def _filled(image: Image, x: Tensor) -> Image:
    """The file's image with other pixels."""
    return image.with_pixels(x[0].detach().cpu())


def _viewable(y: Tensor, start: Tensor) -> Tensor:
    """The measurement if it is an image, otherwise the starting point made of it."""
    like_an_image = y.dim() == 4 and y.shape[1] == start.shape[1] and not y.is_complex()
    return y if like_an_image else start
