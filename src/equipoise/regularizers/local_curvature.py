"""``K^T diag(curvature) K`` of convolutions K as one convolution for each level of curvature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.circulant import LocalKernels

#: Parts of an image, by curvature: edges are bent little, flat regions up to a thousand times more.
PARTS = 4
#: Curvatures are smoothed over this many pixels in every direction: windows that vary faster than
#: the kernels would mix frequencies.
SMOOTHING = 7
#: Share of the pixels below the lowest and above the highest level.
TAIL = 0.05
#: Pixels at most from which the levels are found.
SAMPLE = 2**16

_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def local_kernels(curvature: Tensor, autocorrelations: Tensor) -> LocalKernels:
    """Divide images by the size of the curvature and average it over each part.

    A pixel's level is the logarithm of ``sum_k c_k(p) ||k-th filter||^2``, smoothed; parts are
    linear hat functions of it. Negative curvatures count as zero, so that the result is positive
    semi-definite.

    Args:
        curvature: c, shape (B, features, *spatial).
        autocorrelations: of the filters, shape (features, channels, channels, *sizes).

    Returns:
        The convolutions ``sum_k mean_j(c_k) a_k`` in each part j with autocorrelations a_k.
    """
    bent = curvature.clamp_min(0.0)
    dims = bent.dim() - 2
    middle = [size // 2 for size in autocorrelations.shape[3:]]
    power = autocorrelations[(..., *middle)].diagonal(dim1=1, dim2=2).sum(1)
    height = torch.tensordot(bent, power, dims=([1], [0])).unsqueeze(1)
    height = _MEAN[dims](height, SMOOTHING, 1, SMOOTHING // 2, count_include_pad=False)
    windows = _hats(height.clamp_min(torch.finfo(bent.dtype).tiny).log())

    # A part without pixels takes the mean over the whole image.
    trace = torch.finfo(bent.dtype).eps
    weights = (windows + trace).flatten(2)
    weights = weights / weights.sum(2, keepdim=True)
    gains = weights @ bent.flatten(2).mT
    kernels = torch.einsum("bjk,k...->bj...", gains, autocorrelations)
    return LocalKernels(windows, kernels)


def _hats(level: Tensor) -> Tensor:
    """Hat functions of levels (B, 1, *spatial) around quantiles of them, (B, PARTS, *spatial)."""
    values = level.flatten(1)
    values = values[:, :: -(-values.shape[1] // SAMPLE)]
    shares = torch.linspace(TAIL, 1.0 - TAIL, PARTS, dtype=level.dtype, device=level.device)
    nodes = torch.quantile(values, shares, dim=1)
    nodes = nodes.reshape(PARTS, len(level), *[1] * (level.dim() - 1))
    gaps = nodes.diff(dim=0).clamp_min(torch.finfo(level.dtype).eps)
    place = sum(((level - n) / gap).clamp(0.0, 1.0) for n, gap in zip(nodes, gaps, strict=False))
    return torch.cat([(1.0 - (place - j).abs()).clamp_min(0.0) for j in range(PARTS)], dim=1)
