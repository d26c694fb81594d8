"""How near images are to the truth: PSNR and SSIM, for values in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

#: Side of the window of the structural similarity.
SSIM_WINDOW = 11


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    """``-10 log10 mean (x - truth)^2`` per sample: range 1, no clipping, no quantisation.

    Args:
        x: images, shape (B, C, ...).
        truth: the same shape.

    Returns:
        Decibels, shape (B,).
    """
    return -10.0 * torch.log10((x - truth).square().flatten(1).mean(1))


def mean_psnr(x: Tensor, truth: Tensor) -> float:
    """The mean of the samples' PSNR in dB."""
    return float(psnr(x, truth).mean())


def pooled_psnr(x: Tensor, truth: Tensor) -> float:
    """PSNR in dB of all samples taken as one image: what minimising the mean error maximises."""
    return float(psnr(x.reshape(1, -1), truth.reshape(1, -1)))


def bound_per_pixel(bound: Tensor | None, x: Tensor) -> float | None:
    """A bound of ``||x - z||`` as one of the root mean square of the pixels of ``x - z``.

    Args:
        bound: of the distance, shape (1,), or None.
        x: one image, shape (1, C, ...), with values in [0, 1].

    Returns:
        None also where the bound is at least 1, from black to white: any picture is that near.
    """
    found = None if bound is None else float(bound) / x.numel() ** 0.5
    return None if found is None or not found < 1.0 else found


def ssim(x: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity with range 1, the mean over the batch.

    That of Wang, Bovik, Sheikh and Simoncelli (2004): a Gaussian window of 11 pixels and deviation
    1.5, in float64, only where it lies within the image, as their implementation has it; computed
    by scikit-image.

    Args:
        x: images, shape (B, C, H, W).
        truth: the same shape.

    Returns:
        A scalar, in the precision of x; NaN for images with a side of less than 11 pixels.
    """
    if min(x.shape[2:]) < SSIM_WINDOW:
        return torch.full((), torch.nan, dtype=x.dtype, device=x.device)
    # Imported here: it brings scipy, which takes longer than many a solve.
    from skimage.metrics import structural_similarity

    both = (images.detach().double().cpu().numpy() for images in (x, truth))
    found = [
        structural_similarity(
            image,
            true,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=0,
        )
        for image, true in zip(*both, strict=True)
    ]
    return torch.tensor(sum(found) / len(found), dtype=x.dtype, device=x.device)
