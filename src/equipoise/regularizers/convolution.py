"""Convolutions in any number of axes: operator, exact adjoint, cosine filters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import InputError, UnknownNameError, UsageError

Padding = Literal["zero", "circular"]

#: Output channels that fill a processor's vector registers in a convolution.
LANES = 16

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Correlation:
    """A correlation with filters of odd size that keeps the image size, laid out once.

    Formula: ``(K x)_k(p) = b_k + sum_c sum_t filters[k, c, t] x_c(p + t - centre)``.

    On a processor, few outputs leave most of the vector units idle: a block of neighbouring pixels
    is then computed as further outputs of a strided convolution, and the blocks are interleaved.
    Images of two axes are held with their channels last.

    Args:
        filters: shape (out, channels, *sizes), odd sizes, 1 to 3 axes; derivatives pass.
        bias: shape (out,), or None.
        padding: ``"zero"``, or ``"circular"`` for periodic images.
    """

    def __init__(self, filters: Tensor, bias: Tensor | None, padding: Padding) -> None:
        self.outputs, self.sizes = len(filters), filters.shape[2:]
        self.halves = [size // 2 for size in self.sizes]
        self.padding = padding
        dims = len(self.sizes)
        self._convolve = _CONV[dims]
        self.block = (
            block_shape(self.outputs, dims) if filters.device.type == "cpu" else (1,) * dims
        )
        self._plain = prod(self.block) == 1
        if not self._plain:
            filters = _blocked(filters, self.block)
            bias = None if bias is None else bias.repeat_interleave(prod(self.block))
        self.filters, self.bias = laid_out(filters), bias

    def __call__(self, x: Tensor) -> Tensor:
        """Correlate images of shape (B, channels, *spatial); the result is (B, out, *spatial).

        Raises:
            InputError: if an image is too small to be padded circularly.
        """
        if self.padding == "circular":
            return self.valid(wrap(x, self.halves))
        return self._padded(x, self.halves, x.shape[2:])

    def valid(self, x: Tensor) -> Tensor:
        """The same without padding: the result is smaller by the filters' size less one."""
        sizes = [n - size + 1 for n, size in zip(x.shape[2:], self.sizes, strict=True)]
        return self._padded(x, [0] * len(sizes), sizes)

    def _padded(self, x: Tensor, widths: Sequence[int], sizes: Sequence[int]) -> Tensor:
        if self._plain:
            return self._convolve(x, self.filters, self.bias, padding=list(widths))
        missing = [-size % edge for size, edge in zip(sizes, self.block, strict=True)]
        if any(missing):
            x = F.pad(x, [width for m in reversed(missing) for width in (0, m)])
        y = self._convolve(x, self.filters, self.bias, stride=self.block, padding=list(widths))
        dims = len(self.block)
        y = y.unflatten(1, (self.outputs, *self.block))
        order = [axis for d in range(dims) for axis in (2 + dims + d, 2 + d)]
        if dims == 2:  # channels stay last in memory
            y = y.permute(0, *order, 1).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
        else:
            whole = [size + m for size, m in zip(sizes, missing, strict=True)]
            y = y.permute(0, 1, *order).reshape(len(x), self.outputs, *whole)
        if any(missing):
            for axis, size in enumerate(sizes, start=2):
                y = y.narrow(axis, 0, size)
        return y


def correlate(
    x: Tensor, filters: Tensor, bias: Tensor | None = None, padding: Padding = "zero"
) -> Tensor:
    """Correlate images with filters of odd size; the image size is kept.

    Args:
        x: shape (B, channels, *spatial) with 1 to 3 spatial axes.
        filters: shape (out, channels, *sizes), odd sizes.
        bias: shape (out,), or None.
        padding: ``"zero"``, or ``"circular"`` for periodic images.

    Returns:
        Tensor of shape (B, out, *spatial), see :class:`Correlation`.

    Raises:
        InputError: if an image is too small to be padded circularly.
    """
    return Correlation(filters, bias, padding)(x)


def wrap(x: Tensor, widths: Sequence[int]) -> Tensor:
    """Continue periodic images by the given numbers of pixels on both sides of each axis.

    Raises:
        InputError: if an image is smaller than that.
    """
    sizes = x.shape[2:]
    if any(width > size for width, size in zip(widths, sizes, strict=True)):
        raise InputError(
            f"Circular padding needs images of at least half the filters' size {list(widths)}, "
            f"got {tuple(sizes)}: use zero padding or larger images."
        )
    return F.pad(x, [width for width in reversed(widths) for _ in range(2)], mode="circular")


def block_shape(outputs: int, dims: int) -> tuple[int, ...]:
    """Edges of the block of pixels that one strided convolution computes; all 1: no blocks."""
    edges = [1] * dims
    while outputs * prod(edges) * 2 <= LANES:
        edges[edges.index(min(edges))] *= 2
    return tuple(edges)


def laid_out(images: Tensor) -> Tensor:
    """Images or filters as convolutions are fastest with: channels last, on a processor in 2-D."""
    if images.dim() == 4 and images.device.type == "cpu":
        return images.contiguous(memory_format=torch.channels_last)
    return images


def mirrored(filters: Tensor) -> Tensor:
    """Filters of the adjoint: mirrored, with their channel axes swapped."""
    return filters.flip(tuple(range(2, filters.dim()))).transpose(0, 1)


def _blocked(filters: Tensor, block: Sequence[int]) -> Tensor:
    """Filters of the strided convolution: one shifted copy for each pixel of a block."""
    dims = filters.dim() - 2
    wide = F.pad(filters, [edge - 1 for edge in reversed(block) for _ in range(2)])
    for axis, edge in enumerate(block, start=2):
        wide = wide.unfold(axis, filters.shape[axis] + edge - 1, 1)
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
    return correlate(z, mirrored(filters), None, padding)


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
