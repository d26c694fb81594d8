"""Restore one image file after the other with learned weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise.cli.inputs import Job, may_miss
from equipoise.cli.jobs import MeasuredSettings
from equipoise.cli.outputs import Rescue
from equipoise.errors import InputError
from equipoise.images import (
    Image,
    read_image,
    write_image,
)
from equipoise.images.data_range import far_from
from equipoise.metrics import bound_per_pixel, psnr
from equipoise.problems import Problem
from equipoise.problems.masks import NAN, Mask, MaskFolder, mask_of_nan
from equipoise.problems.plausible import estimated_noise, noise_warning, odd_ray_sums
from equipoise.problems.pose import pose
from equipoise.problems.problem import Shape
from equipoise.problems.tasks import Padding
from equipoise.problems.tomography import Detector, ParallelBeam, diagonal_detector
from equipoise.reconstructor import EquilibriumReconstructor
from equipoise.regularizers import Scaled
from equipoise.settings.data_range import DataRange
from equipoise.settings.task import OWN, Task
from equipoise.shipped import Card
from equipoise.status import Status

#: Less noise than this, half a step of eight bits, is not believed.
LEAST_NOISE = 0.5 / 255


@dataclass(frozen=True)
class Restored:
    """What a restoration reports, one row of the table.

    Args:
        job: files.
        residual: of the equation, relative to its scale.
        error_bound: proved bound on the root mean square of the pixels' distances to the exact
            equilibrium, on the scale from 0 to 1; None where none below 1 is.
        evaluations: of the equation.
        status: why the solve ended.
        seconds: of the solve.
        psnr_input: of the starting point, in dB; None where the truth is not known.
        psnr: of the restored image, likewise.
        notes: plain sentences about what was made of the user's options.
        written: whether all outputs are where they belong.
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
    written: bool = True

    def row(self) -> dict[str, Any]:
        """JSON-able form without the files."""
        content = {part.name: getattr(self, part.name) for part in fields(self)}
        return content | {"job": None, "status": self.status.name}

    @classmethod
    def of(cls, job: Job, row: Mapping[str, Any]) -> Restored:
        """What :meth:`row` gave, with its files."""
        whole = {"job": job, "status": Status[row["status"]], "notes": tuple(row["notes"])}
        return cls(**{**row, **whole})


@dataclass(frozen=True)
class Restorer:
    """Everything that restoring one image needs besides the image.

    Args:
        model: the equation's reconstructor with the learned regulariser.
        task: the inverse problem.
        measured: how the files hold measurements.
        simulate: whether images are the truth, to be degraded first.
        seed: of simulated noise and random masks.
        noise: standard deviation that R was learned for, for images in [0, 1]; None: not known, or
            said by the user.
        values: between which numbers the images lay that R was learned from.
        card: of weights that ship, whose strength is set for each image by its noise.
        colour: restores colour images instead; None: they are restored here, too.
    """

    model: EquilibriumReconstructor
    task: Task
    measured: MeasuredSettings
    simulate: bool
    seed: int
    noise: float | None = None
    values: tuple[float, float] = (0.0, 1.0)
    card: Card | None = None
    colour: Restorer | None = None

    def restore(self, job: Job, inputs: list[Path], rescue: Rescue) -> Restored:
        """Read, measure where simulated, solve, write.

        Args:
            job: files.
            inputs: all inputs; none of them is overwritten.
            rescue: writes the outputs.

        Raises:
            InputError: if the image cannot be read or does not fit the problem.
        """
        image = read_image(job.source, missing=may_miss(self.task, self.simulate))
        return self._for(image, job.source)._restored(image, job, inputs, rescue)

    def _for(self, image: Image, source: Path) -> Restorer:
        """What restores this image: by the weights for colour, with a mask of its own."""
        chosen = self.colour if self.colour is not None and image.is_colour else self
        own = chosen._own_mask(source, image)
        if own is None:
            return chosen
        return replace(chosen, task=chosen.task.model_copy(update={"mask": own}))

    def _restored(self, image: Image, job: Job, inputs: list[Path], rescue: Rescue) -> Restored:
        if self._sinograms and image.depth.maximum is not None:
            raise InputError(
                f"'{job.source}' holds integers: measurements of tomography are floating-point "
                "files (NPY or TIFF) of shape (detectors, directions). To try the weights on a "
                "clean image, add --simulate."
            )
        data_range = image.range(self.task.range)
        numbers = image.numbers[None]
        problem = self._problem(tuple(numbers.shape[1:]), job.source)
        _refuse_known_nan(image, problem, job.source)
        if image.alpha is not None and problem.image_shape[1:] != numbers.shape[2:]:
            raise InputError(
                f"'{job.source}' has an alpha channel, but the restored image has another size: "
                "save it without alpha, or pose the problem with --padding circular."
            )
        truth, y = self._posed_data(problem, numbers, data_range)
        start = problem.start(y)
        adapted = self._adapt(problem, y, data_range)
        solution = self.model.solve(y, problem.physics, start)
        made = {job.restored: _filled(image, solution.x, data_range)}
        if job.degraded is not None:
            made[job.degraded] = self._degraded(image, problem, y, start)
        written = [rescue.write(file, _writer(made[file], inputs)) for file in made]
        return Restored(
            job=job,
            residual=float(solution.relative_residual[0]),
            error_bound=bound_per_pixel(solution.error_bound, solution.x),
            evaluations=int(solution.evaluations[0]),
            status=solution.statuses[0],
            seconds=solution.seconds,
            psnr_input=None if truth is None else float(psnr(start, truth)),
            psnr=None if truth is None else float(psnr(solution.x, truth)),
            notes=(*adapted, *self._warnings(problem, truth, y, data_range), *problem.notes),
            written=all(written),
        )

    def _adapt(self, problem: Problem, y: Tensor, data_range: DataRange) -> list[str]:
        """Set the strength of weights that ship by the noise of an image; say by which."""
        if self.card is None:
            return []
        found = None
        known = self.simulate or self.task.noise is not None
        if not known and self.task.name in ("denoise", "deblur"):
            found = estimated_noise(y)
        noise = max(problem.sigma if found is None else found, LEAST_NOISE)
        field = self.model.regularizer
        assert isinstance(field, Scaled)
        field.set_scales(*self.card.scales(noise))
        if known:
            return []
        shown = f"{float(f'{noise * data_range.width:.2g}'):g}"
        how = "taken to be" if found is None else "estimated at"
        return [f"Noise {how} {shown} (standard deviation): say what it is with --noise."]

    def _own_mask(self, source: Path, image: Image) -> Mask | None:
        """The mask that belongs to this image alone; None where all have the same."""
        mask = self.task.mask
        if isinstance(mask, MaskFolder):
            return mask.mask_of(source)
        if mask == NAN and not self.simulate:
            return mask_of_nan(image.missing, source.name)
        return None

    def _posed_data(
        self, problem: Problem, numbers: Tensor, data_range: DataRange
    ) -> tuple[Tensor | None, Tensor]:
        """The truth, where it is known, and the measurements, for images in [0, 1]."""
        if self.simulate:
            truth = data_range.to_unit(numbers).to(self._like())
            return truth, problem.measure(truth, torch.Generator().manual_seed(self.seed))
        black, divisor = self._zero(problem, data_range)
        return None, data_range.to_unit(numbers / divisor, black).to(self._like())

    def _zero(self, problem: Problem, data_range: DataRange) -> tuple[Tensor, float]:
        """What a black image gives, and what the measurements in files are divided by."""
        with torch.no_grad():
            black = torch.full((1, *problem.image_shape), data_range.black).to(self._like())
            seen = problem.physics.A(black).double()
        scaled = self.measured.sinogram == "scaled"
        tomograph = isinstance(problem.physics, ParallelBeam) and not scaled
        return seen, problem.physics.scale if tomograph else 1.0

    def _degraded(self, image: Image, problem: Problem, y: Tensor, start: Tensor) -> Image:
        """The measurement if it is an image that the file can hold, otherwise the starting point.

        Sinograms are written as files that are read hold them.
        """
        data_range = image.range(self.task.range)
        like_an_image = y.dim() == 4 and y.shape[1] == start.shape[1] and not y.is_complex()
        clipped = self.task.name == "tomography" and image.depth.maximum is not None
        if clipped or not like_an_image:
            return _filled(image, start, data_range)
        black, divisor = self._zero(problem, data_range)
        numbers = divisor * (black + data_range.width * y.double())
        return image.with_numbers(numbers[0].cpu())

    def _warnings(
        self, problem: Problem, truth: Tensor | None, y: Tensor, data_range: DataRange
    ) -> list[str]:
        """What is odd about the data."""
        if self._sinograms:
            divisor = self._zero(problem, data_range)[1]
            odd = odd_ray_sums(problem, y, divisor * data_range.width)
        elif truth is not None or self.task.name != OWN:
            noise = 0.0 if self.simulate else problem.sigma
            shown = y if truth is None else truth
            odd = far_from(shown, data_range, self.values, noise)
        else:
            odd = None
        like_an_image = truth is None and self.task.name in ("denoise", "deblur")
        if odd is None and self.noise is not None and like_an_image:
            odd = noise_warning(estimated_noise(y), self.noise, data_range.width)
        return [] if odd is None else [odd]

    def _problem(self, file_shape: Shape, source: Path) -> Problem:
        """The problem whose images (or, for measured files, measurements) have the file's shape.

        Raises:
            InputError: if no image shape fits.
        """
        if self._sinograms:
            return self._tomograph(file_shape, source)
        detector = diagonal_detector(file_shape) if self.task.name == "tomography" else None
        problem = self._posed(file_shape, detector)
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
        channels, detectors, directions = file_shape
        side = self.measured.size or detectors
        detector = Detector(detectors, self.measured.axis)
        problem = self._posed((channels, side, side), detector)
        if problem.measured_shape != file_shape:
            raise InputError(
                f"'{source}' holds {directions} directions of {detectors} detectors, but there are "
                f"{problem.measured_shape[2]} angles: a sinogram is (detectors, directions), and "
                "--angles says where its columns were measured from."
            )
        size = f"{side} x {side} pixels"
        note = (
            f"{detectors} detectors, images of {size} (--size for another square around the axis)."
        )
        return replace(problem, notes=(*problem.notes, note))

    def _like(self) -> Tensor:
        """A tensor of the precision and on the device of the weights."""
        return next(self.model.regularizer.parameters(), torch.zeros(()))

    def _posed(self, image_shape: Shape, detector: Detector | None = None) -> Problem:
        usual: Padding = "circular" if self.simulate else "valid"
        return pose(
            self.task,
            image_shape,
            padding=self.measured.padding or usual,
            detector=detector,
            seed=self.seed,
            dtype=self._like().dtype,
            device=self._like().device,
        )


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


def _writer(image: Image, inputs: list[Path]) -> Callable[[Path], None]:
    return lambda path: write_image(path, image, never=inputs)


def _filled(image: Image, x: Tensor, data_range: DataRange) -> Image:
    """The file's image with other pixels."""
    return image.with_numbers(data_range.from_unit(x[0].detach().cpu().double()))
