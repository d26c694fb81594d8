"""Convolutions in any number of axes: operator, exact adjoint, proved norm, cosine filters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.bounds import inflate
from equipoise.errors import UnknownNameError, UsageError

Padding = Literal["zero", "circular"]

#: Frequencies per axis on which symbols are evaluated; the loss by sampling is divided out.
GRID = 64

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
    """
    halves = [size // 2 for size in filters.shape[2:]]
    convolve = _CONV[len(halves)]
    if padding == "zero":
        return convolve(x, filters, bias, padding=halves)
    pads = [half for half in reversed(halves) for _ in range(2)]
    return convolve(F.pad(x, pads, mode="circular"), filters, bias)


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


def gram_peak(filters: Tensor) -> Tensor:
    r"""Bound ``sup_w ||k(w)||^2`` of the symbol, hence the squared norm of the correlation.

    With zero padding the operator on any image size is a compression of the correlation on the
    infinite grid; with circular padding its symbol is sampled: both are bounded by the supremum
    over all frequencies. For each vector u, ``<u, k(w)* k(w) u>`` is a non-negative trigonometric
    polynomial of degree n = size - 1 per axis. If it attains its supremum M at ``w0``, then
    ``T(w) >= M cos^2(n (w - w0) / 2)`` along each axis (M. Riesz), so the maximum over N > n
    equispaced frequencies, divided by ``cos^2(pi n / (2 N))`` per axis, is at least M.

    Differentiable with respect to the filters (envelope theorem: through the maximising frequency
    and vector).

    Args:
        filters: shape (out, channels, *sizes).

    Returns:
        0-d tensor; correct up to rounding.
    """
    sizes = filters.shape[2:]
    dims = len(sizes)
    grid = [max(GRID // 2 ** max(dims - 2, 0), 4 * size) for size in sizes]
    with torch.no_grad():
        gram = _autocorrelation(filters.detach())
        symbol = torch.fft.fftn(gram, s=grid, dim=tuple(range(2, 2 + dims)))
        # The autocorrelation starts at lag 1 - size: undo that shift by its phase.
        lags = [
            torch.arange(n, device=gram.device) * ((size - 1) / n)
            for n, size in zip(grid, sizes, strict=True)
        ]
        phase = sum(torch.meshgrid(*lags, indexing="ij"))
        symbol = symbol * torch.polar(torch.ones_like(phase), 2 * math.pi * phase).to(symbol.dtype)
        matrices = symbol.flatten(2).permute(2, 0, 1)
        if filters.shape[1] == 1:
            best = int(matrices.real.argmax())
            vector = torch.ones(1, dtype=symbol.dtype, device=symbol.device)
        else:
            values, vectors = torch.linalg.eigh(matrices)
            best = int(values[:, -1].argmax())
            vector = vectors[best, :, -1]
        index = torch.unravel_index(torch.tensor(best), grid)
        wave = _waves(list(sizes), [float(i) / n for i, n in zip(index, grid, strict=True)])
        wave = vector.reshape(-1, *[1] * dims) * wave.to(vector)
    real = (filters * wave.real).flatten(1).sum(1)
    imaginary = (filters * wave.imag).flatten(1).sum(1)
    loss = math.prod(
        math.cos(math.pi * (size - 1) / (2 * n)) ** 2 for n, size in zip(grid, sizes, strict=True)
    )
    return (real.square() + imaginary.square()).sum() / loss


def _waves(shape: list[int], frequencies: list[float]) -> Tensor:
    """``exp(2 pi i sum_a frequencies[a] t_a)`` on the grid ``t`` of that shape, complex128."""
    axes = [
        f * torch.arange(n, dtype=torch.float64) for n, f in zip(shape, frequencies, strict=True)
    ]
    angle = 2 * math.pi * torch.stack(torch.meshgrid(*axes, indexing="ij")).sum(0)
    return torch.polar(torch.ones_like(angle), angle)


def norm_bound(filters: Tensor) -> float:
    """Proved upper bound of ``||K||`` for every image size and either padding, in float64."""
    return inflate(math.sqrt(float(gram_peak(filters.detach().double()))))


def _autocorrelation(filters: Tensor) -> Tensor:
    """``g[c, d](t) = sum_k sum_s filters[k, c](s + t) filters[k, d](s)`` at all lags."""
    swapped = filters.transpose(0, 1)
    pads = [size - 1 for size in filters.shape[2:]]
    return _CONV[len(pads)](swapped, swapped, padding=pads)


def dct_filters(filters: int, channels: int, kernel_size: int, dims: int = 2) -> Tensor:
    """Make unit-norm zero-mean filters from the discrete cosine basis, low frequencies first.

    The basis is separable over channels and axes and orthonormal; atoms that are constant over
    the spatial axes are left out. Filters beyond the size of the basis are random (zero-mean, unit
    norm), drawn from torch's global generator.

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
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise UsageError(f"kernel_size must be a positive odd number, got {kernel_size}.")
    if channels < 1 or not filters or min(filters) < 1:
        raise UsageError(
            f"channels and filters must be positive, got channels={channels}, filters={filters}."
        )
    if padding not in get_args(Padding):
        raise UnknownNameError("padding", padding, get_args(Padding))
