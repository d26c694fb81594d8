"""Convolutions in any number of axes: operator, exact adjoint, cosine filters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import InputError, UnknownNameError, UsageError

Padding = Literal["zero", "circular"]

#: Output channels that fill a processor's vector registers in a convolution.
LANES = 16

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def correlate(
    x: Tensor, filters: Tensor, bias: Tensor | None = None, padding: Padding = "zero"
) -> Tensor:
    """Correlate images with filters of odd size; the image size is kept.

    Formula: ``(K x)_k(p) = b_k + sum_c sum_t filters[k, c, t] x_c(p + t - centre)``.

    Args:
        x: shape (B, channels, *spatial) with 1 to 3 spatial axes.
        filters: shape (out, channels, *sizes), odd sizes.
        bias: shape (out,), or None.
        padding: ``"zero"``, or ``"circular"`` for periodic images.

    Returns:
        Tensor of shape (B, out, *spatial).

    Raises:
        InputError: if an image is too small to be padded circularly.
    """
    halves = [size // 2 for size in filters.shape[2:]]
    sizes, outputs, dims = x.shape[2:], len(filters), len(halves)
    if padding == "circular":
        if any(half > size for half, size in zip(halves, sizes, strict=True)):
            raise InputError(
                f"Circular padding needs images of at least half the filters' size {halves}, "
                f"got {tuple(sizes)}: use zero padding or larger images."
            )
        x = F.pad(x, [half for half in reversed(halves) for _ in range(2)], mode="circular")
        halves = [0] * dims
    convolve = _CONV[dims]
    stride = _phases(outputs, dims)
    if stride == 1:
        return convolve(x, filters, bias, padding=halves)
    # Few outputs leave most of a processor's vector units idle: compute a block of neighbouring
    # pixels as further outputs of a strided convolution and interleave the blocks.
    missing = [-size % stride for size in sizes]
    if any(missing):
        x = F.pad(x, [width for m in reversed(missing) for width in (0, m)])
    bias = None if bias is None else bias.repeat_interleave(stride**dims)
    blocks = convolve(x, _blocked(filters, stride), bias, stride=stride, padding=halves)
    blocks = blocks.unflatten(1, (outputs, *[stride] * dims))
    order = [axis for d in range(dims) for axis in (2 + dims + d, 2 + d)]
    whole = blocks.permute(0, 1, *order).reshape(
        len(x), outputs, *(size + m for size, m in zip(sizes, missing, strict=True))
    )
    for axis, size in enumerate(sizes, start=2):
        whole = whole.narrow(axis, 0, size)
    return whole


def _phases(outputs: int, dims: int) -> int:
    """Edge of the block of pixels that one strided convolution computes; 1: no blocks."""
    return next((edge for edge in (4, 2) if outputs * edge**dims <= LANES), 1)


def _blocked(filters: Tensor, stride: int) -> Tensor:
    """Filters of the strided convolution: one shifted copy for each pixel of a block."""
    dims = filters.dim() - 2
    wide = F.pad(filters, [stride - 1] * (2 * dims))
    for axis in range(2, 2 + dims):
        wide = wide.unfold(axis, filters.shape[axis] + stride - 1, 1)
    shifts = tuple(range(2, 2 + dims))
    wide = wide.flip(shifts).permute(0, *shifts, 1, *range(2 + dims, 2 + 2 * dims))
    return wide.flatten(0, dims)


def correlate_adjoint(z: Tensor, filters: Tensor, padding: Padding = "zero") -> Tensor:
    """Apply the exact adjoint of :func:`correlate` (without bias).

    Formula: correlation with the mirrored filters, whose channel axes are swapped.

    Args:
        z: shape (B, out, *spatial).
        filters: shape (out, channels, *sizes), odd sizes.
        padding: as for :func:`correlate`.

    Returns:
        Tensor of shape (B, channels, *spatial).
    """
    axes = tuple(range(2, filters.dim()))
    return correlate(z, filters.flip(axes).transpose(0, 1), None, padding)


def zero_mean(filters: Tensor) -> Tensor:
    """Subtract from each filter its mean over the spatial axes, channel by channel."""
    return filters - filters.mean(dim=tuple(range(2, filters.dim())), keepdim=True)


def dct_filters(filters: int, channels: int, kernel_size: int, dims: int = 2) -> Tensor:
    """Make unit-norm zero-mean filters from the discrete cosine basis.

    The basis is separable over channels and axes and orthonormal; atoms that are constant over
    the spatial axes are left out. Fewer filters than atoms are spread evenly over the frequencies
    from low to high: what no filter sees is not regularised. Filters beyond the size of the basis
    are random (zero-mean, unit norm), drawn from torch's global generator.

    Args:
        filters: number of filters.
        channels: number of image channels.
        kernel_size: odd size of the filters.
        dims: number of spatial axes.

    Returns:
        Tensor of shape (filters, channels, *[kernel_size] * dims).
    """
    bases = [_cosines(channels), *[_cosines(kernel_size)] * dims]
    orders = [order for order in product(*(range(len(basis)) for basis in bases)) if any(order[1:])]
    orders.sort(key=lambda order: (sum(f * f for f in order[1:]), order[0], order))
    if 1 < filters < len(orders):
        step = (len(orders) - 1) / (filters - 1)
        orders = [orders[round(k * step)] for k in range(filters)]
    atoms = []
    for order in orders[:filters]:
        atom = torch.ones(())
        for basis, f in zip(bases, order, strict=True):
            atom = atom.unsqueeze(-1) * basis[f]
        atoms.append(atom)
    missing = filters - len(atoms)
    if missing > 0:
        extra = zero_mean(torch.randn(missing, channels, *[kernel_size] * dims))
        atoms += list(extra / extra.flatten(1).norm(dim=1).reshape(-1, *[1] * (dims + 1)))
    return torch.stack(atoms)


def _cosines(size: int) -> Tensor:
    """The orthonormal DCT-II basis of ``R^size``; row f has frequency f."""
    f = torch.arange(size, dtype=torch.float64).unsqueeze(1)
    t = torch.arange(size, dtype=torch.float64) + 0.5
    basis = torch.cos(math.pi * f * t / size) * math.sqrt(2.0 / size)
    basis[0] /= math.sqrt(2.0)
    return basis.to(torch.get_default_dtype())


def check_filters(
    channels: int, filters: Sequence[int], kernel_size: int, dims: int, padding: str
) -> None:
    """Refuse sizes that make no convolution.

    Raises:
        UsageError: naming the argument that is wrong.
        UnknownNameError: for a padding that does not exist.
    """
    if dims not in _CONV:
        raise UsageError(f"dims must be 1, 2 or 3, got {dims}.")
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise UsageError(f"kernel_size must be odd and at least 3, got {kernel_size}.")
    if channels < 1 or not filters or min(filters) < 1:
        raise UsageError(
            f"channels and filters must be positive, got channels={channels}, filters={filters}."
        )
    if padding not in get_args(Padding):
        raise UnknownNameError("padding", padding, get_args(Padding))
