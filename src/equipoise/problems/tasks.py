"""The three tasks, and any deepinv physics, each through one function that returns a Problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from deepinv.physics import Blur, BlurFFT, Denoising, GaussianNoise, Inpainting, LinearPhysics
from torch import Tensor

from equipoise.adjointness import adjoint_defect
from equipoise.conversion import in_precision
from equipoise.errors import InputError, UsageError
from equipoise.problems.filling import fill_missing
from equipoise.problems.kernels import Kernel, kernel_from_tensor, kernel_from_text
from equipoise.problems.masks import FixedMask, Mask, RandomPixels, mask_from_text
from equipoise.problems.problem import (
    Problem,
    Rebuild,
    Shape,
    fitted_adjoint,
    measurements,
    noise_words,
    problem_for,
)
from equipoise.stacked import with_one_measurement

Padding = Literal["circular", "valid"]
PhysicsFactory = Callable[[Shape], LinearPhysics]


def denoise(
    image_shape: Shape,
    *,
    sigma: float = 0.1,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Problem:
    """Pose denoising: ``y = x + sigma n``.

    Args:
        image_shape: (C, *spatial).
        sigma: standard deviation of the noise, at least 0.
        dtype: torch.float32 or torch.float64.
        device: where images and physics are.

    Raises:
        InputError: if the shape or the noise level is impossible.
    """
    posed = problem_for(image_shape, sigma, dtype, device)
    return posed(
        name="denoise",
        physics=Denoising(GaussianNoise(sigma), device=device),
        description=f"Denoising: the image plus {noise_words(sigma)}.",
        rebuild=partial(denoise, sigma=sigma),
        first_guess=measurements,
    )


def inpaint(
    image_shape: Shape,
    mask: Mask | Tensor | float | str = 0.5,
    *,
    sigma: float = 0.05,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Problem:
    """Pose inpainting: ``y = m (x + sigma n)`` with a mask m, the same for all channels.

    Args:
        image_shape: (C, *spatial).
        mask: share of known pixels in (0, 1]; a tensor of zeros (missing) and ones (known) of the
            image's spatial shape; a text such as ``"rows:0.5"`` or the path of an image (white is
            known); or a rule of :mod:`equipoise.problems.masks`.
        sigma: standard deviation of the noise, at least 0.
        seed: seed of a random mask.
        dtype: torch.float32 or torch.float64.
        device: where images and physics are.

    Raises:
        InputError: if mask and image sizes differ, or the mask, shape or noise is impossible.
    """
    return _inpaint(
        image_shape,
        sigma=sigma,
        rule=_as_mask(mask, seed),
        shrink=False,
        dtype=dtype,
        device=device,
    )


def deblur(
    image_shape: Shape,
    kernel: Kernel | Tensor | str | Path = "motion:9",
    *,
    sigma: float = 0.02,
    padding: Padding = "circular",
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Problem:
    """Pose deconvolution: ``y = k * x + sigma n``.

    Args:
        image_shape: (C, H, W).
        kernel: ``"motion:LENGTH[:ANGLE]"``, ``"gaussian:DEVIATION"``, the path of an image, a
            tensor (h, w), or a :class:`~equipoise.problems.kernels.Kernel`. It is normalised to
            sum 1; an even-sized one is padded, which the problem's notes say.
        sigma: standard deviation of the noise, at least 0.
        padding: ``"circular"`` (y has the size of x, the blur wraps around) or ``"valid"`` (y is
            smaller by the kernel's size minus 1, nothing is assumed of what lies outside).
        dtype: torch.float32 or torch.float64.
        device: where images and physics are.

    Raises:
        InputError: if the kernel sums to zero, is larger than the image or unreadable.
        UsageError: if the padding is neither circular nor valid.
    """
    posed = problem_for(image_shape, sigma, dtype, device)
    if len(image_shape) != 3:
        raise InputError(f"Deconvolution takes images (C, H, W), got shape {image_shape}.")
    if padding not in ("circular", "valid"):
        raise UsageError(f"The padding is 'circular' or 'valid', got '{padding}'.")
    chosen = _as_kernel(kernel)
    h, w = chosen.values.shape
    if h > image_shape[1] or w > image_shape[2]:
        raise InputError(
            f"The kernel ({h} x {w}) is larger than the image "
            f"({image_shape[1]} x {image_shape[2]}): use a smaller kernel or larger images."
        )
    # The physics is built from a filter of the right dtype: .to(dtype) would spoil BlurFFT.
    # Valid convolution goes through the FFT too: several times faster, and never in TF32.
    values = chosen.values.to(device=device, dtype=dtype)[None, None]
    noise = GaussianNoise(sigma)
    physics: LinearPhysics
    if padding == "circular":
        physics = BlurFFT(
            img_size=tuple(image_shape), filter=values, noise_model=noise, device=device
        )
    else:
        physics = Blur(
            filter=values, padding="valid", use_fft=True, noise_model=noise, device=device
        )
    border = "wrapping around the border" if padding == "circular" else "without the border"
    return posed(
        name="deblur",
        physics=physics,
        description=f"Deconvolution: blur by {chosen.description}, {border}, "
        f"and {noise_words(sigma)}.",
        rebuild=partial(deblur, kernel=chosen, sigma=sigma, padding=padding),
        first_guess=partial(_continue_border, margin=(h // 2, w // 2))
        if padding == "valid"
        else measurements,
        notes=chosen.notes,
    )


def from_physics(
    physics: LinearPhysics | PhysicsFactory,
    image_shape: Shape,
    *,
    sigma: float = 0.0,
    name: str = "",
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Problem:
    """Pose the problem of any deepinv linear physics: ``y = A x + sigma n``.

    The physics is checked for linearity and adjointness first. Its own noise model is replaced.

    Args:
        physics: a deepinv linear physics, or a function of the image shape that returns one; only
            the function lets the problem be posed for other shapes. What it holds is converted to
            ``dtype`` (:func:`~equipoise.conversion.in_precision`); what its functions hold
            inside cannot be. Measurements in several parts become one tensor
            (:class:`~equipoise.stacked.JoinedPhysics`).
        image_shape: (C, *spatial).
        sigma: standard deviation of the noise, at least 0.
        name: what reports call it; by default the class name of the physics.
        dtype: torch.float32 or torch.float64.
        device: where images and physics are.

    Raises:
        UsageError: if it is no deepinv linear physics.
        InputError: if it is not linear or does not take such images.
        AdjointError: if ``A_adjoint`` is not the adjoint of ``A``.
    """
    posed = problem_for(image_shape, sigma, dtype, device)
    shape = tuple(image_shape)
    given = physics if isinstance(physics, LinearPhysics) else physics(shape)
    kind = type(given).__name__
    if not isinstance(given, LinearPhysics):
        raise UsageError(f"The physics must be a deepinv.physics.LinearPhysics, got {kind}.")
    built = in_precision(given, dtype, shape).to(device)
    with torch.no_grad():
        built = with_one_measurement(built, torch.zeros((1, *shape), dtype=dtype, device=device))
    built.set_noise_model(GaussianNoise(sigma).to(device))
    adjoint_defect(built, shape, dtype=dtype, device=device)
    rebuild: Rebuild = partial(from_physics, physics, sigma=sigma, name=name)
    if isinstance(physics, LinearPhysics):
        rebuild = partial(_of_one, built, shape, sigma=sigma, name=name)
    title = name or kind
    return posed(
        name=title,
        physics=built,
        description=f"{title}: a deepinv physics ({kind}) and {noise_words(sigma)}.",
        rebuild=rebuild,
        first_guess=fitted_adjoint,
    )


def _inpaint(
    image_shape: Shape,
    *,
    sigma: float,
    rule: Mask,
    shrink: bool,
    dtype: torch.dtype,
    device: str | torch.device,
) -> Problem:
    posed = problem_for(image_shape, sigma, dtype, device)
    values = rule.draw(tuple(image_shape[1:]), shrink).to(device=device, dtype=dtype)
    physics = Inpainting(
        img_size=tuple(image_shape),
        mask=values[None, None],
        noise_model=GaussianNoise(sigma),
        device=device,
    )
    return posed(
        name="inpaint",
        physics=physics,
        description=f"Inpainting: {rule.description}, with {noise_words(sigma)}.",
        rebuild=partial(_inpaint, sigma=sigma, rule=rule, shrink=True),
        first_guess=_filled,
        notes=(f"{rule.description}.",) if isinstance(rule, FixedMask) else (),
    )


def _filled(physics: LinearPhysics, y: Tensor) -> Tensor:
    """y with local means of the known pixels where the mask has none."""
    return fill_missing(y, physics.mask)


def _as_mask(mask: Mask | Tensor | float | str, seed: int) -> Mask:
    if isinstance(mask, Tensor):
        return FixedMask(mask)
    if isinstance(mask, str):
        return mask_from_text(mask, seed)
    return RandomPixels(float(mask), seed) if isinstance(mask, (int, float)) else mask


def _as_kernel(kernel: Kernel | Tensor | str | Path) -> Kernel:
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, Tensor):
        return kernel_from_tensor(kernel)
    return kernel_from_text(str(kernel))


def _continue_border(physics: LinearPhysics, y: Tensor, margin: tuple[int, int]) -> Tensor:
    """y with its border pixels repeated outwards, which has the size of the image."""
    rows, columns = margin
    return F.pad(y, (columns, columns, rows, rows), mode="replicate")


def _of_one(
    physics: LinearPhysics,
    fixed: Shape,
    image_shape: Shape,
    *,
    sigma: float,
    name: str,
    dtype: torch.dtype,
    device: torch.device,
) -> Problem:
    if image_shape != fixed:
        raise UsageError(
            f"This problem was made of one physics for images of shape {fixed}, it cannot be posed "
            f"for {image_shape}: give from_physics a function of the image shape that returns the "
            "physics."
        )
    return from_physics(physics, fixed, sigma=sigma, name=name, dtype=dtype, device=device)
