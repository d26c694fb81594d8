"""Convolutions in any number of axes: operator, exact adjoint, cosine filters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.convolutions.precision import without_tf32
from equipoise.errors import InputError, UnknownNameError, UsageError

Padding = Literal["zero", "circular"]

#: Output channels that fill a processor's vector registers in a convolution.
LANES = 16

#: By the number of spatial axes.
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Correlation:
    """A correlation with filters of odd size that keeps the image size, laid out once.

    Formula: ``(K x)_k(p) = b_k + sum_c sum_t filters[k, c, t] x_c(p + t - centre)``.

    On a processor, few outputs leave most of the vector units idle: several neighbouring pixels are
    then computed as further outputs of a convolution with a stride. Images of two axes are held
    with their channels last, so that those outputs lie in memory as the pixels do.

    Args:
        filters: shape (out, channels, *sizes), odd sizes, 1 to 3 axes; derivatives pass.
        bias: shape (out,), or None.
        padding: ``"zero"``, or ``"circular"`` for periodic images.
    """

    def __init__(self, filters: Tensor, bias: Tensor | None, padding: Padding) -> None:
        self.outputs, self.sizes = len(filters), filters.shape[2:]
        self.halves = [size // 2 for size in self.sizes]
        self.padding = padding
        self._convolve = CONVOLUTIONS[len(self.sizes)]
        self._run = run_length(self.outputs) if filters.device.type == "cpu" else 1
        self._single = laid_out(filters), bias
        self._accurately = without_tf32(filters.device)
        if self._run > 1:
            filters = _shifted(filters, self._run)
            bias = None if bias is None else bias.repeat(self._run)
        self.filters, self.bias = laid_out(filters), bias

    def __call__(self, x: Tensor) -> Tensor:
        """Correlate images of shape (B, channels, *spatial); the result is (B, out, *spatial).

        Raises:
            InputError: if an image is too small to be padded circularly.
        """
        if self.padding == "circular":
            return self.valid(wrap(x, self.halves))
        return self._padded(x, self.halves, x.shape[-1])

    def valid(self, x: Tensor) -> Tensor:
        """The same without padding: the result is smaller by the filters' size less one."""
        return self._padded(x, [0] * len(self.sizes), x.shape[-1] - self.sizes[-1] + 1)

    def every(self, x: Tensor, strides: Sequence[int]) -> Tensor:
        """:meth:`valid` at every so many pixels along each axis, from the first one on."""
        filters, bias = self._single
        with self._accurately:
            return self._convolve(x, filters, bias, stride=strides)

    def full(self, x: Tensor) -> Tensor:
        """The same on images continued by zeros: larger by the filters' size less one."""
        widths = [size - 1 for size in self.sizes]
        return self._padded(x, widths, x.shape[-1] + widths[-1])

    def _padded(self, x: Tensor, widths: Sequence[int], length: int) -> Tensor:
        run = self._run
        missing = -length % run
        if missing:
            x = F.pad(x, (0, missing))
        stride = [1] * (len(widths) - 1) + [run]
        with self._accurately:
            y = self._convolve(x, self.filters, self.bias, stride=stride, padding=widths)
        if run == 1:
            return y
        if len(widths) == 2:  # a view, as channels are last
            y = y.permute(0, 2, 3, 1).unflatten(3, (run, self.outputs)).flatten(2, 3)
            y = y.permute(0, 3, 1, 2)
        else:
            y = y.unflatten(1, (run, self.outputs)).movedim(1, -1).flatten(-2)
        return y.narrow(-1, 0, length) if missing else y


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


def run_length(outputs: int) -> int:
    """Number of neighbouring pixels along the last axis that one convolution computes at once."""
    return 1 << max(0, (LANES // outputs).bit_length() - 1)


def laid_out(images: Tensor) -> Tensor:
    """Images or filters as convolutions are fastest with: channels last, on a processor in 2-D."""
    if images.dim() == 4 and images.device.type == "cpu":
        return images.contiguous(memory_format=torch.channels_last)
    return images


def mirrored(filters: Tensor) -> Tensor:
    """Filters of the adjoint: mirrored, with their channel axes swapped."""
    return filters.flip(tuple(range(2, filters.dim()))).transpose(0, 1)


def _shifted(filters: Tensor, run: int) -> Tensor:
    """Filters of the convolution with a stride: one copy for each pixel of a run, moved along."""
    return torch.cat([F.pad(filters, (shift, run - 1 - shift)) for shift in range(run)])


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


def chain(x: Tensor, layers: Sequence[Tensor], bias: Tensor | None, padding: Padding) -> Tensor:
    """Apply one correlation after the other, the last one with a bias: ``K_n ... K_1 x + b``."""
    for layer in layers[:-1]:
        x = correlate(x, layer, None, padding)
    return correlate(x, layers[-1], bias, padding)


def chain_adjoint(z: Tensor, layers: Sequence[Tensor], padding: Padding) -> Tensor:
    """Apply the exact adjoint of :func:`chain` (without bias): ``K_1^T ... K_n^T z``."""
    for layer in reversed(layers):
        z = correlate_adjoint(z, layer, padding)
    return z


def zero_mean(filters: Tensor) -> Tensor:
    """Subtract from each filter its mean over the spatial axes, channel by channel."""
    return filters - filters.mean(dim=tuple(range(2, filters.dim())), keepdim=True)


def dct_filters(filters: int, channels: int, kernel_size: int, dims: int = 2) -> Tensor:
    """Make unit-norm zero-mean filters from the discrete cosine basis.

    The basis is separable over channels and axes and orthonormal; atoms that are constant over
    the spatial axes are left out. Fewer filters than atoms are spread evenly over the frequencies
    from low to high: what no filter sees is not regularised. Filters beyond the size of the basis
    are random (zero-mean, unit norm), drawn from torch's global generator. Where tensors are made
    on the device ``meta`` there are no values, only the shape.

    Args:
        filters: number of filters.
        channels: number of image channels.
        kernel_size: odd size of the filters.
        dims: number of spatial axes.

    Returns:
        Tensor of shape (filters, channels, *[kernel_size] * dims).
    """
    bases = [_cosines(channels), *[_cosines(kernel_size)] * dims]
    if bases[0].is_meta:  # however many they are
        return torch.empty(filters, channels, *[kernel_size] * dims)
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


def check_chain(filters: Sequence[Tensor]) -> None:
    """Refuse filters that cannot be applied one after the other.

    Args:
        filters: filters of each convolution, shapes (out, in, *sizes).

    Raises:
        UsageError: if there are none, or shapes do not fit together.
    """
    if not filters:
        raise UsageError("filters must hold at least one convolution.")
    width, sizes = filters[0].shape[1], set(filters[0].shape[2:])
    for layer in filters:
        if layer.shape[1] != width or set(layer.shape[2:]) != sizes or len(sizes) != 1:
            raise UsageError(
                "Each convolution must take as many channels as the one before gives, and all "
                f"sizes must be equal; got {[tuple(f.shape) for f in filters]}."
            )
        width = len(layer)


def check_filters(
    channels: int, filters: Sequence[int], kernel_size: int, dims: int, padding: str
) -> None:
    """Refuse sizes that make no convolution.

    Raises:
        UsageError: naming the argument that is wrong.
        UnknownNameError: for a padding that does not exist.
    """
    if dims not in CONVOLUTIONS:
        raise UsageError(f"dims must be 1, 2 or 3, got {dims}.")
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise UsageError(f"kernel_size must be odd and at least 3, got {kernel_size}.")
    if channels < 1 or not filters or min(filters) < 1:
        raise UsageError(
            f"channels and filters must be positive, got channels={channels}, filters={filters}."
        )
    if padding not in get_args(Padding):
        raise UnknownNameError("padding", padding, get_args(Padding))
