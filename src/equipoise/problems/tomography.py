"""Parallel-beam tomography: deepinv's projections, scaled to norm 1, with their exact adjoint."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from deepinv.physics import GaussianNoise, LinearPhysics, Tomography, adjoint_function
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.modes import verb
from equipoise.problems.problem import (
    Problem,
    Shape,
    fitted,
    noise_words,
    problem_for,
)
from equipoise.settings.views import Views, views_from_text

#: Height and width of images.
Size = tuple[int, int]


@dataclass(frozen=True)
class Detector:
    """A row of detectors, one pixel wide each, at the same place for all directions.

    Args:
        count: how many there are.
        axis: which of them, counted from 0, the axis of rotation is projected on; halves lie
            between two. None: the middle one, ``count // 2``, as in scikit-image.

    Raises:
        InputError: if there is no detector, or the axis is no multiple of a half among them.
    """

    count: int
    axis: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"Tomography needs at least one detector, got {self.count}.")
        if not (0 <= self.place <= self.count - 1 and (2 * self.place).is_integer()):
            raise InputError(
                f"The axis of rotation is projected on one of the detectors 0 to {self.count - 1} "
                f"or halfway between two, got {self.axis}: shift the measurements to such a place."
            )

    @property
    def place(self) -> float:
        """The number of the detector below the axis."""
        return float(self.count // 2) if self.axis is None else float(self.axis)


#: Most pixels of all directions together, of which memory holds four numbers each.
MOST_PIXELS = 2**32
#: Relative width of the bracket of the norm at which the power iteration ends.
NORM_ACCURACY = 1e-6
#: Most steps of the power iteration; a few directions converge slowest.
NORM_STEPS = 200


@verb
def tomography(
    image_shape: Shape,
    angles: Views | int | str = "30",
    *,
    sigma: float = 0.01,
    unit_size: Size | None = None,
    detector: Detector | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Problem:
    """Pose parallel-beam tomography: ``y = P x / s + sigma n``, P the sums along parallel rays.

    The scale s is the norm of P on images of ``unit_size``, so that ``||A|| = 1`` there. Rays
    cross the whole square, corners included: with only its inscribed circle (deepinv's
    ``circle=True``) the corners, 21 % of the pixels, would be measured by no ray.

    The problem for another image size (:meth:`~equipoise.problems.Problem.for_shape`) keeps
    directions and scale: fine detail is then measured as strongly, against the same noise, so that
    what was learned on one size has the right strength on another. The norm of A goes with the
    square root of the side. What does change with the size is how sparse so many directions are.

    Args:
        image_shape: (C, H, W); channels are measured one by one. An image that is not square is
            centred in a square of zeros.
        angles: number of directions over 0 to 180 degrees (sparse view); ``"60:0-120"`` for 60
            over 0 to 120 degrees (limited angle); ``"0,10,25.5"`` for these; or
            :class:`~equipoise.settings.views.Views`.
        sigma: standard deviation of the noise on the scaled measurements, at least 0. For 30
            directions and photographs in [0, 1] of 128 to 256 pixels' side the measurements have a
            root mean square of 0.5 to 1, so the default is noise of one to two percent.
        unit_size: (H, W) of the images for which the norm is 1; None takes those of
            ``image_shape``.
        detector: what measures the rays; None: see :class:`ParallelBeam`.
        dtype: torch.float32 or torch.float64; the scale is that of float64 for both.
        device: where images and physics are.

    Raises:
        InputError: if shape, noise level or directions are impossible.
        UsageError: if the text cannot be read as directions.
    """
    posed = problem_for(image_shape, sigma, dtype, device)
    if len(image_shape) != 3:
        raise InputError(f"Tomography takes images (C, H, W), got shape {image_shape}.")
    views = as_views(angles)
    size = (int(image_shape[1]), int(image_shape[2]))
    unit = size if unit_size is None else (int(unit_size[0]), int(unit_size[1]))
    if min(unit) < 1:
        raise InputError(f"The size with norm 1 is (H, W) with positive numbers, got {unit}.")
    scale = ray_norm(views, unit)[0]
    physics = ParallelBeam(size, views, detector, scale=scale, dtype=dtype, device=device)
    physics.set_noise_model(GaussianNoise(sigma).to(device))
    return posed(
        name="tomography",
        physics=physics,
        description=f"Tomography: parallel rays from {views.description}, scaled to norm 1 for "
        f"{unit[0]} x {unit[1]} pixels, and {noise_words(sigma)}.",
        rebuild=partial(tomography, angles=views, sigma=sigma, unit_size=unit, detector=detector),
        first_guess=back_projected,
        notes=(f"Measurements are sums along rays, in pixels, divided by {physics.scale:.6g}.",),
    )


class ParallelBeam(LinearPhysics):
    """Sums along parallel rays, divided by a fixed scale: ``A x = P x / scale``.

    P is deepinv's ``Tomography`` (rotation by bilinear interpolation, then sums); ``A_adjoint`` is
    the exact adjoint of the same coefficients, through back-propagation. Both can be
    differentiated any number of times. Memory: about 4 d^2 numbers a direction, and d^2 numbers a
    direction for each image that is measured, d the number of detectors.

    Without a detector there are as many as the diagonal of the square around the image, rounded up,
    and the axis is where deepinv has it: on pixel ``W // 2`` of a square of W pixels where the
    number of detectors is odd, half a pixel before it where it is even.

    Args:
        image_size: (H, W).
        views: directions.
        detector: what measures the rays, and where the axis is, which then goes through pixel
            ``(H // 2, W // 2)`` (half a pixel before it where it lies between two detectors). Rays
            beyond the detectors are not measured, detectors beyond the image see nothing.
        scale: what ray sums are divided by.
        dtype: torch.float32 or torch.float64.
        device: where it is.
    """

    def __init__(
        self,
        image_size: Size,
        views: Views,
        detector: Detector | None = None,
        *,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(device=device)
        self.image_size, self.views, self.scale = image_size, views, scale
        side = max(image_size)
        if detector is None:
            rows = _detectors(side)
            self._measured = slice(0, rows)
            corner = [(side - size) // 2 for size in image_size]
        else:
            side, rows, first = _square_around(side, detector)
            self._measured = slice(first, first + detector.count)
            corner = [side // 2 - size // 2 for size in image_size]
        self._unmeasured = self._measured.start, rows - self._measured.stop
        (top, left), (h, w) = corner, image_size
        self._margins = left, side - left - w, top, side - top - h
        self.rays = _rays(side, views, dtype, device)
        self._adjoint = _Adjoint()

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Project images (B, C, H, W) to (B, C, detectors, directions)."""
        if tuple(x.shape[2:]) != self.image_size:
            raise InputError(
                f"This tomograph was built for images of {self.image_size[0]} x "
                f"{self.image_size[1]} pixels, got shape {tuple(x.shape)}."
            )
        projected: Tensor = _Apply.apply(x, self._project, self._back_project)
        return projected

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        """Apply the exact adjoint to measurements (B, C, detectors, directions)."""
        image: Tensor = _Apply.apply(y, self._back_project, self._project)
        return image

    def filtered(self, y: Tensor) -> Tensor:
        """Filtered back-projection (ramp filter along the detector) of y: close to an inverse.

        Formula: ``pi / (2 K) P^T (h * (scale y))`` for K directions over half a turn, h the
        filter with response ``|frequency|``.
        """
        with torch.no_grad():
            ramped = self.rays.iradon.filter(self.scale * y)
            weight = math.radians(self.views.covered) / (2 * self.views.count)
            return weight * self.scale * self._back_project(ramped)

    def _project(self, x: Tensor) -> Tensor:
        sums: Tensor = self.rays.A(F.pad(x, self._margins))
        return sums[..., self._measured, :] / self.scale

    def _back_project(self, y: Tensor) -> Tensor:
        left, _, top, _ = self._margins
        h, w = self.image_size
        rows = F.pad(y, (0, 0, *self._unmeasured))
        square: Tensor = self._adjoint(self.rays, rows.contiguous())
        return square[..., top : top + h, left : left + w] / self.scale

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Move or convert, also what deepinv remembers of the dtype."""
        moved: nn.Module = super()._apply(fn, recurse)
        if "rays" not in self._modules:  # deepinv's constructor moves what is not there yet
            return moved
        self.rays.dtype = self.rays.radon.dtype = self.rays.radon.all_grids.dtype
        self.rays.iradon.filter.dtype = self.rays.dtype
        return moved


class _Adjoint(threading.local):
    """Back-projection by back-propagation of the rays, remembered for each thread's latest shape.

    What deepinv's tomograph remembers is one for all threads, which get each other's batch size.
    Copies and pickles are empty.
    """

    kind: tuple[Any, ...] = ()
    function: Callable[[Tensor], Tensor]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def __call__(self, rays: Tomography, y: Tensor) -> Tensor:
        shape = (*y.shape[:2], rays.img_width, rays.img_width)
        kind = shape, y.device, rays.dtype
        if kind != self.kind:
            self.function = adjoint_function(rays.A, shape, device=y.device, dtype=rays.dtype)
            self.kind = kind
        return self.function(y)


@lru_cache(maxsize=64)
def ray_norm(views: Views, size: Size) -> tuple[float, float]:
    """Bracket the norm of the unscaled ray sums P on images of one size.

    Formula: P has no negative entry and every pixel is met, so for every positive x
    ``||P x|| / ||x|| <= ||P|| <= sqrt(max_i (P^T P x)_i / x_i)`` (Collatz 1942, Wielandt 1950).
    Power steps from the image of ones close this bracket; no random number is involved, and
    float64 is used throughout. The lower end is a Rayleigh quotient: its relative error is about
    the square of the bracket's width.

    Args:
        views: directions.
        size: (H, W).

    Returns:
        (lower, upper), apart by at most a relative 1e-6 unless 200 steps do not reach it.
    """
    physics = ParallelBeam(size, views, dtype=torch.float64)
    x = torch.ones((1, 1, *size), dtype=torch.float64)
    low, high = 0.0, float("inf")
    with torch.no_grad():
        for _ in range(NORM_STEPS):
            y = physics.A(x)
            again = physics.A_adjoint(y)
            low = max(low, float(y.norm() / x.norm()))
            high = min(high, float((again / x).max()) ** 0.5)
            if high <= low * (1.0 + NORM_ACCURACY):
                break
            x = again / again.max()
    return low, max(low, high)


def back_projected(physics: LinearPhysics, y: Tensor) -> Tensor:
    """Filtered back-projection with the factor that fits the data best."""
    assert isinstance(physics, ParallelBeam)
    return fitted(physics, y, physics.filtered(y))


def as_views(angles: Views | int | str) -> Views:
    """Directions from a number, a text or themselves."""
    if isinstance(angles, Views):
        return angles
    return Views(angles) if isinstance(angles, int) else views_from_text(angles)


class _Apply(torch.autograd.Function):
    """``x -> B x`` whose derivative is ``g -> B^T g``, to every order."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        there: Callable[[Tensor], Tensor],
        back: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.there, ctx.back = there, back
        return there(x.detach())

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return _Apply.apply(g, ctx.back, ctx.there), None, None


def _detectors(side: int) -> int:
    """How many of deepinv's detectors see a square of that side."""
    return math.ceil(math.sqrt(2.0) * side)


def diagonal_detector(image_shape: Shape) -> Detector:
    """The detectors that see the square around an image, with the axis as in scikit-image."""
    return Detector(_detectors(max(image_shape[1:])))


def _square_around(side: int, detector: Detector) -> tuple[int, int, int]:
    """A square of deepinv's that holds the image and whose detectors hold ours.

    Its number of detectors is odd where the axis is to lie on one of them, otherwise even.

    Returns:
        Side of the square, number of its detectors, and the first of them that is ours.
    """
    while True:
        rows = _detectors(side)
        first = (rows - 1) / 2 - detector.place
        if first.is_integer() and 0 <= first <= rows - detector.count:
            return side, rows, int(first)
        side += 1


def _rays(side: int, views: Views, dtype: torch.dtype, device: str | torch.device) -> Tomography:
    count = views.count * _detectors(side) ** 2
    if count > MOST_PIXELS:  # checked before memory is taken
        raise InputError(
            f"{views.description} of {side} x {side} pixels are more than memory holds: take "
            "fewer directions or smaller images."
        )
    return Tomography(
        angles=views.degrees().to(device),
        img_width=side,
        circle=False,
        adjoint_via_backprop=True,
        normalize=False,  # it fails in float64; the scale is ours
        dtype=dtype,
        device=device,
    )
