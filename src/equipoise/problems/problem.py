"""The noun of this package: an operator, its noise, and where a reconstruction starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from deepinv.physics import Inpainting, LinearPhysics
from deepinv.physics.mri import MRIMixin
from torch import Tensor, nn

from equipoise.errors import InputError, UsageError
from equipoise.modes import verb
from equipoise.portable import portable
from equipoise.randomness import normal_like
from equipoise.stacked import JoinedPhysics
from equipoise.vectors import dot, expand

Shape = tuple[int, ...]


class Rebuild(Protocol):
    """Makes the same problem for another image size, dtype or device."""

    def __call__(
        self, image_shape: Shape, *, dtype: torch.dtype, device: torch.device
    ) -> Problem: ...


@dataclass(frozen=True, eq=False)
class Problem:
    """An inverse problem ``y = A x + sigma n`` for images of one shape.

    It can be copied and pickled where its parts can.

    Args:
        name: for example ``"denoise"``.
        physics: A, a deepinv linear physics; its noise model is Gaussian with the same sigma.
        sigma: standard deviation of the noise, for images with values in [0, 1].
        image_shape: shape (C, *spatial) of one image.
        description: one plain sentence: operator and noise.
        dtype: dtype of images and measurements.
        device: where the physics is.
        rebuild: makes the same problem for another shape, dtype or device.
        first_guess: ``(physics, y) -> x0``, see :meth:`start`.
        notes: further plain sentences about what was made of the user's input.
    """

    name: str
    physics: LinearPhysics
    sigma: float
    image_shape: Shape
    description: str
    dtype: torch.dtype
    device: torch.device
    rebuild: Rebuild = field(repr=False)
    first_guess: Callable[[LinearPhysics, Tensor], Tensor] = field(repr=False)
    notes: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        rebuild = self.rebuild
        if isinstance(rebuild, partial):  # of a user's physics
            given = [portable(arg) if isinstance(arg, nn.Module) else arg for arg in rebuild.args]
            rebuild = partial(rebuild.func, *given, **rebuild.keywords)
        return vars(self) | {"physics": portable(self.physics), "rebuild": rebuild}

    @verb
    def measure(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Simulate ``y = A x + sigma n`` with n standard normal; only observed entries get noise.

        The noise is drawn on the CPU in float64 and then moved and rounded, so that a seed gives
        the same noise on every device and in every dtype. For masks (inpainting, MRI) the entries
        that are not observed stay zero. For complex measurements sigma is the deviation of the
        real and of the imaginary part.

        Args:
            x: images of shape (B, *image_shape).
            generator: a CPU generator.

        Returns:
            Measurements of shape (B, ...).

        Raises:
            InputError: if x has another shape, dtype or device than the problem.
        """
        self._check_images(x)
        with torch.no_grad():
            clean = self.physics.A(x)
            n = normal_like(clean, generator)
            return clean + self.sigma * observed(self.physics, x[:1], n)

    @verb
    def start(self, y: Tensor) -> Tensor:
        """A cheap image near the answer: where solvers start, and what they must improve on.

        Denoising: y. Inpainting: missing pixels filled with local means of the known ones.
        Deconvolution: y, continued at the border by its edge where the padding is valid.
        Tomography: filtered back-projection. Any other physics: ``t A^T y``, with the t that fits
        the data best.

        Args:
            y: measurements of shape (B, ...).

        Returns:
            Images of shape (B, *image_shape).
        """
        with torch.no_grad():
            return self.first_guess(self.physics, y)

    def for_shape(self, image_shape: Shape) -> Problem:
        """The same problem (kernel, statistics of the mask, noise) for images of another shape.

        Args:
            image_shape: (C, *spatial).

        Raises:
            InputError: if the operator does not exist in that shape.
            UsageError: if the problem was made of a physics for one fixed shape.
        """
        if tuple(image_shape) == self.image_shape:
            return self
        return self.rebuild(tuple(image_shape), dtype=self.dtype, device=self.device)

    @property
    def measured_shape(self) -> Shape:
        """Shape of one measurement, without the batch axis."""
        x = torch.zeros((1, *self.image_shape), dtype=self.dtype, device=self.device)
        with torch.no_grad():
            return tuple(self.physics.A(x).shape[1:])

    def for_measured(self, shape: Shape) -> Problem | None:
        """The same problem for the images whose measurements have a shape.

        From images of shape n to measurements of shape m, an operator may shorten the axes (a blur
        without the border) or divide them (a coarser grid). So, for measurements of shape f, the
        image shapes n + (f - m) and n f / m are tried.

        Args:
            shape: of one measurement, without the batch axis.

        Returns:
            The problem, or None if neither gives such measurements.

        Raises:
            UsageError: if the problem was made of a physics for one fixed shape.
        """
        measured = self.measured_shape
        if measured == shape:
            return self
        if not len(measured) == len(shape) == len(self.image_shape) or not all(measured):
            return None
        axes = list(zip(self.image_shape, shape, measured, strict=True))
        shortened = tuple(n + f - m for n, f, m in axes)
        divided = tuple(round(n * f / m) for n, f, m in axes)
        for image_shape in (shortened, divided):
            try:
                problem = self.for_shape(image_shape)
            except InputError:  # the operator does not exist in that shape
                continue
            if problem.measured_shape == shape:
                return problem
        return None

    def with_dtype(self, dtype: torch.dtype) -> Problem:
        """The same problem in another precision.

        The operator is built anew: converting a deepinv ``BlurFFT`` by ``.to(dtype)`` drops the
        imaginary part of its transfer function.
        """
        if dtype == self.dtype:
            return self
        return self.rebuild(self.image_shape, dtype=dtype, device=self.device)

    def with_device(self, device: str | torch.device) -> Problem:
        """The same problem on another device."""
        if torch.device(device) == self.device:
            return self
        return self.rebuild(self.image_shape, dtype=self.dtype, device=torch.device(device))

    def _check_images(self, x: Tensor) -> None:
        if x.dim() == 0 or tuple(x.shape[1:]) != self.image_shape:
            raise InputError(
                f"{self.name} was built for images of shape {self.image_shape} with a batch axis "
                f"before it, got {tuple(x.shape)}: use problem.for_shape(...)."
            )
        if x.dtype != self.dtype:
            raise InputError(
                f"{self.name} was built for {self.dtype}, got {x.dtype}: "
                f"use problem.with_dtype({x.dtype})."
            )
        if x.device.type != self.device.type:
            raise InputError(
                f"{self.name} is on {self.device}, the images are on {x.device}: "
                f"use problem.with_device('{x.device}')."
            )


def problem_for(
    image_shape: Shape, sigma: float, dtype: torch.dtype, device: str | torch.device
) -> Callable[..., Problem]:
    """A :class:`Problem` of which all is said but what its operator is.

    Raises:
        InputError: if the noise is negative or not finite, or the shape is no image's.
        UsageError: if the dtype is not float32 or float64.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise InputError(f"The noise level must be a number >= 0, got {sigma}.")
    if len(image_shape) < 2 or any(size < 1 for size in image_shape):
        raise InputError(
            f"An image shape is (channels, *spatial) with positive sizes, got {image_shape}."
        )
    if dtype not in (torch.float32, torch.float64):
        raise UsageError(f"Problems are built in torch.float32 or torch.float64, not in {dtype}.")
    shape, place = tuple(image_shape), torch.device(device)
    return partial(Problem, sigma=sigma, image_shape=shape, dtype=dtype, device=place)


def fitted_adjoint(physics: LinearPhysics, y: Tensor) -> Tensor:
    """Compute ``t A^T y`` with ``t = ||A^T y||^2 / ||A A^T y||^2`` of each sample.

    This t minimises ``||A (t A^T y) - y||``: the first step of steepest descent from zero.
    """
    return fitted(physics, y, physics.A_adjoint(y))


def fitted(physics: LinearPhysics, y: Tensor, image: Tensor) -> Tensor:
    """Compute ``t image`` with the t of each sample that minimises ``||A (t image) - y||``."""
    again = physics.A(image)
    top, bottom = dot(again, y), dot(again, again)
    t = torch.where(bottom > 0, top / bottom, torch.zeros_like(top))
    return expand(t, image) * image


def measurements(physics: LinearPhysics, y: Tensor) -> Tensor:
    """y itself, where measurements are images."""
    return y.clone()


def noise_words(sigma: float) -> str:
    """``"Gaussian noise of standard deviation 0.1"``, or ``"no noise"``."""
    return f"Gaussian noise of standard deviation {sigma:g}" if sigma > 0 else "no noise"


def observed(physics: LinearPhysics, image: Tensor, noise: Tensor) -> Tensor:
    """Noise with zeros where a masking physics never observes anything; as it is for others.

    Args:
        physics: a deepinv linear physics.
        image: one image, shape (1, C, ...), for shape, dtype and device.
        noise: a tensor of the shape of measurements, (B, ...).
    """
    parts = physics.parts if isinstance(physics, JoinedPhysics) else (physics,)
    if not any(isinstance(part, (Inpainting, MRIMixin)) for part in parts):
        return noise
    return torch.where(physics.A(normal_like(image, 0)) != 0, noise, torch.zeros_like(noise))
