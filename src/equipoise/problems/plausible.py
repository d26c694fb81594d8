"""Whether data can be what they are taken for: their noise, and the size of ray sums."""

from __future__ import annotations

import math

import torch
from deepinv.models import PatchCovarianceNoiseEstimator
from torch import Tensor

from equipoise.images.data_range import values_of
from equipoise.modes import verb
from equipoise.problems.datasplit import centre_crop
from equipoise.problems.problem import Problem

#: Side of the patches. Every one is used: deepinv's every ninth are too few for small images, in
#: which it finds half of the noise (32 pixels) or NaN (28).
PATCH = 7
#: Smallest side with enough of them, and the largest that is looked at.
LEAST_SIDE, MOST_SIDE = 24, 512
#: An estimate that differs by more than this factor from the expected noise is told,
FACTOR = 1.5
#: and from above only beyond this: fine texture looks like noise to every estimator.
TEXTURE = 0.04
#: alpha goes with this power of the noise, see :func:`alpha_for_noise`.
NOISE_EXPONENT = 1.25
#: Of the largest ray sum that images in [0, 1] have; a sinogram that stays below it is told.
SMALLEST_SHARE = 0.02


@verb
@torch.no_grad()
def estimated_noise(y: Tensor) -> float | None:
    """Standard deviation of white Gaussian noise in an image.

    Source: Chen, Zhu and Heng, An efficient statistical method for image noise level estimation
    (ICCV 2015), through deepinv: the eigenvalues of the covariance of patches in which no image is
    seen. Texture is taken for noise: of photographs without any, 0.01 to 0.03 (in [0, 1]).

    Args:
        y: one image, shape (1, C, H, W); several channels are averaged after the estimate.

    Returns:
        The estimate in the image's units; None where the image is too small.
    """
    if y.dim() != 4 or y.is_complex() or min(y.shape[2:]) < LEAST_SIDE:
        return None
    channels = centre_crop(y, MOST_SIDE).float().movedim(1, 0)  # deepinv refuses float64
    levels = PatchCovarianceNoiseEstimator.estimate_noise(channels, PATCH, 1)
    found = float(levels.square().mean().sqrt())
    return found if math.isfinite(found) else None


def noise_warning(found: float | None, expected: float, span: float) -> str | None:
    """A sentence where an estimate is far from what was expected.

    Args:
        found: the estimate, for images in [0, 1], or None.
        expected: what R was learned for, likewise.
        span: white minus black of the files, in whose numbers both are said.
    """
    if found is None:
        return None
    less, more = found < expected / FACTOR, found > max(FACTOR * expected, expected + TEXTURE)
    if not (less or more):
        return None
    noise, learned = float(f"{found * span:.2g}"), float(f"{expected * span:.2g}")
    effect = "smooth away detail that is there" if less else "leave noise in the picture"
    return (
        f"Warning: the data seem to have noise of standard deviation {noise:g}, but R was learned "
        f"for {learned:g} and will {effect}: say what it is with --noise {noise:g}, which sets the "
        "strength."
    )


def alpha_for_noise(alpha: float, noise: float, learned: float) -> float:
    """The strength for another noise than R was learned for.

    Formula: ``alpha (noise / learned)^1.25``. The exponent is what restores best where a convex
    ridge regulariser that was learned for 25/255 denoises the validation photographs with 5/255 to
    50/255 (``python -m benchmarks.noise_exponent``).

    Args:
        alpha: the strength for the learned noise.
        noise: the other standard deviation, positive.
        learned: that which R was learned for, positive.
    """
    return float(alpha * (noise / learned) ** NOISE_EXPONENT)


def odd_ray_sums(problem: Problem, y: Tensor, unit: float) -> str | None:
    """A sentence where measurements of a tomograph cannot be those of images in [0, 1].

    Args:
        problem: the tomograph.
        y: its measurements.
        unit: what numbers of the file were divided by.
    """
    white = torch.ones((1, *problem.image_shape), dtype=y.dtype, device=y.device)
    with torch.no_grad():
        most = float(problem.physics.A(white).max())
    low, high = values_of(y)
    margin = most + 3 * problem.sigma
    if -margin <= low and high <= margin and high >= SMALLEST_SHARE * most:
        return None
    return (
        f"Warning: the measurements lie between {low * unit:.3g} and {high * unit:.3g}, while "
        f"images from black to white give 0 to {most * unit:.3g}: say what white is with "
        "--data-range, and whether files hold sums along rays or divided ones with --sinogram."
    )
