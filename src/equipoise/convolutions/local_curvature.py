"""``K^T diag(curvature) K`` of convolutions K as one convolution for each level of curvature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.convolutions.circulant import LocalKernels
from equipoise.convolutions.tiles import Tile
from equipoise.vectors import expand

#: Parts of an image, by curvature, which may be a hundred times smaller at edges than elsewhere,
#: and the least ratio between the levels of neighbouring parts: windows that vary without need
#: only spread waves over frequencies where the inverse is large.
PARTS, LEAST_RATIO = 4, 3.0
#: Means over this many pixels in every direction smooth the curvatures, for the same reason, and
#: so often: windows without corners spread waves less.
SMOOTHING, MEANS = 5, 2
#: Curvatures are computed at every so many pixels of axes that have at least so many.
STRIDE, LONG = 2, 128
#: Share of the pixels below the lowest and above the highest level.
TAIL = 0.05
#: Pixels at most from which the levels are found.
SAMPLE = 2**16

_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def sampling(spatial: Sequence[int]) -> tuple[int, ...]:
    """The distance of the pixels along each axis at which curvatures are computed."""
    return tuple(STRIDE if size >= LONG else 1 for size in spatial)


def local_kernels(
    curvatures: Sequence[tuple[Tile, Tensor]],
    autocorrelations: Tensor,
    shape: Sequence[int],
    strides: Sequence[int],
) -> LocalKernels:
    """Divide images by the size of the curvature and average it over each part.

    A pixel's level is the logarithm of ``sum_k c_k(p) ||k-th filter||^2``, smoothed; parts are
    linear hat functions of it.

    Args:
        curvatures: c of every tile of the grid of pixels where it is known, without a margin, shape
            (b, features, *sizes), not negative, so that the result is positive semi-definite.
        autocorrelations: of the filters, shape (features, channels, channels, *sizes).
        shape: (B, *spatial) of the whole batch.
        strides: of the grid.

    Returns:
        The convolutions ``sum_k mean_j(c_k) a_k`` in each part j with autocorrelations a_k.
    """
    batch, *spatial = shape
    dims = len(spatial)
    grid = curvatures[0][0].shape
    flat = autocorrelations.flatten(3)
    power = flat[..., flat.shape[3] // 2].diagonal(dim1=1, dim2=2).sum(1)
    height = power.new_empty(batch, 1, *grid)
    for tile, curvature in curvatures:
        tile.box(height).copy_((curvature.movedim(1, -1) @ power).unsqueeze(1))
    half = [SMOOTHING // 2 // stride for stride in strides]
    width = [2 * each + 1 for each in half]
    for _ in range(MEANS):
        height = _MEAN[dims](height, width, 1, half, count_include_pad=False)
    windows = _hats(height.clamp_min(torch.finfo(height.dtype).tiny).log())

    # A part without pixels takes the mean over the whole image.
    trace = torch.finfo(height.dtype).eps
    weights = windows + trace
    weights = weights / weights.flatten(2).sum(2).reshape(*weights.shape[:2], *[1] * dims)
    gains = weights.new_zeros(batch, PARTS, len(power))
    for tile, curvature in curvatures:
        share = tile.box(weights).flatten(2)
        gains[tile.samples] += share @ curvature.movedim(1, -1).flatten(1, -2)
    kernels = torch.einsum("bjk,k...->bj...", gains, autocorrelations)
    if grid != tuple(spatial):
        windows = F.interpolate(windows, tuple(spatial), mode=_LINEAR[dims])
    return LocalKernels(windows, kernels)


def _hats(level: Tensor) -> Tensor:
    """Hat functions of equidistant levels, (B, PARTS, *spatial), of levels (B, 1, *spatial)."""
    values = level.flatten(1)
    values = values[:, :: -(-values.shape[1] // SAMPLE)]
    shares = torch.tensor([TAIL, 1.0 - TAIL], dtype=level.dtype, device=level.device)
    low, high = (expand(end, level) for end in torch.quantile(values, shares, dim=1))
    gap = ((high - low) / (PARTS - 1)).clamp_min(math.log(LEAST_RATIO))
    place = (level - 0.5 * (low + high)) / gap + 0.5 * (PARTS - 1)
    place = place.clamp(0.0, PARTS - 1.0)
    return torch.cat([(1.0 - (place - j).abs()).clamp_min(0.0) for j in range(PARTS)], dim=1)
