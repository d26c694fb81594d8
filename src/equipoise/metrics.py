"""How near images are to the truth: PSNR and SSIM, for values in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


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


def ssim(x: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity with range 1 (torchmetrics): mean over whole images and the batch, the
    Gaussian window reflected at the border.

    Args:
        x: images, shape (B, C, H, W).
        truth: the same shape.

    Returns:
        A scalar that can be differentiated.
    """
    # Imported here: it brings matplotlib and scipy, which takes longer than many a solve.
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(x, truth, data_range=1.0)
    assert isinstance(value, Tensor)
    return value
