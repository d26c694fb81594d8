"""Parallel-beam tomography: deepinv's projections, scaled to norm 1, with their exact adjoint."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
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
    check_setting,
    fitted,
    noise_words,
)
from equipoise.settings.views import Views, views_from_text

#: Height and width of images.
Size = tuple[int, int]
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
            over 0 to 120 degrees (limited angle); or :class:`~equipoise.settings.views.Views`.
        sigma: standard deviation of the noise on the scaled measurements, at least 0. For 30
            directions and photographs in [0, 1] of 128 to 256 pixels' side the measurements have a
            root mean square of 0.5 to 1, so the default is noise of one to two percent.
        unit_size: (H, W) of the images for which the norm is 1; None takes those of
            ``image_shape``.
        dtype: torch.float32 or torch.float64; the scale is that of float64 for both.
        device: where images and physics are.

    Raises:
        InputError: if shape, noise level or directions are impossible.
        UsageError: if the text cannot be read as directions.
    """
    check_setting(image_shape, sigma, dtype)
    if len(image_shape) != 3:
        raise InputError(f"Tomography takes images (C, H, W), got shape {image_shape}.")
    views = as_views(angles)
    size = (int(image_shape[1]), int(image_shape[2]))
    unit = size if unit_size is None else (int(unit_size[0]), int(unit_size[1]))
    if min(unit) < 1:
        raise InputError(f"The size with norm 1 is (H, W) with positive numbers, got {unit}.")
    physics = ParallelBeam(size, views, scale=ray_norm(views, unit)[0], dtype=dtype, device=device)
    physics.set_noise_model(GaussianNoise(sigma).to(device))
    return Problem(
        name="tomography",
        physics=physics,
        sigma=sigma,
        image_shape=tuple(image_shape),
        description=f"Tomography: parallel rays from {views.description}, scaled to norm 1 for "
        f"{unit[0]} x {unit[1]} pixels, and {noise_words(sigma)}.",
        dtype=dtype,
        device=torch.device(device),
        rebuild=partial(tomography, angles=views, sigma=sigma, unit_size=unit),
        first_guess=back_projected,
        notes=(f"Measurements are sums along rays, in pixels, divided by {physics.scale:.6g}.",),
    )


def image_side(detectors: int) -> int | None:
    """Side of the square images that so many detectors measure; None if there is none."""
    side = math.floor(detectors / math.sqrt(2.0))
    return side if side > 0 and math.ceil(math.sqrt(2.0) * side) == detectors else None


class ParallelBeam(LinearPhysics):
    """Sums along parallel rays, divided by a fixed scale: ``A x = P x / scale``.

    P is deepinv's ``Tomography`` (rotation by bilinear interpolation, then sums); ``A_adjoint`` is
    the exact adjoint of the same coefficients, through back-propagation. Both can be
    differentiated any number of times. Memory: about 4 d^2 numbers a direction, and d^2 numbers a
    direction for each image that is measured, d the number of detectors.

    Args:
        image_size: (H, W).
        views: directions.
        scale: what ray sums are divided by.
        dtype: torch.float32 or torch.float64.
        device: where it is.
    """

    def __init__(
        self,
        image_size: Size,
        views: Views,
        *,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(device=device)
        self.image_size, self.views, self.scale = image_size, views, scale
        self.rays = _rays(image_size, views, dtype, device)
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
            turn = torch.pi * (self.views.stop - self.views.start) / 180.0
            weight = turn / (2 * self.views.count)
            return weight * self.scale * self._back_project(ramped)

    def _project(self, x: Tensor) -> Tensor:
        return self.rays.A(F.pad(x, _margins(self.image_size))) / self.scale

    def _back_project(self, y: Tensor) -> Tensor:
        left, _, top, _ = _margins(self.image_size)
        h, w = self.image_size
        square: Tensor = self._adjoint(self.rays, y.contiguous())
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


def _rays(size: Size, views: Views, dtype: torch.dtype, device: str | torch.device) -> Tomography:
    side = math.ceil(math.sqrt(2.0) * max(size))
    if views.count * side**2 > MOST_PIXELS:  # checked before memory is taken
        raise InputError(
            f"{views.description} of {size[0]} x {size[1]} pixels are more than memory holds: take "
            "fewer directions or smaller images."
        )
    return Tomography(
        angles=views.degrees().to(device),
        img_width=max(size),
        circle=False,
        adjoint_via_backprop=True,
        normalize=False,  # it fails in float64; the scale is ours
        dtype=dtype,
        device=device,
    )


def _margins(size: Size) -> tuple[int, int, int, int]:
    """Zeros left, right, above and below that make the image square."""
    side = max(size)
    rows, columns = side - size[0], side - size[1]
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
