r"""A proved and tight upper bound on the norm of a convolution, for every image size.

A convolution with taps :math:`W_l \in R^{m \times c}` and zero padding is a compression of the
convolution on all of :math:`Z^d` (extend the image by zeros, convolve, cut out the image domain),
and a circular one on any grid is diagonalised by samples of its symbol. Hence for both, and for
every image size,

.. math:: \|W\| \le \sup_w \|\hat W(w)\|, \qquad \hat W(w) = \sum_l W_l e^{i \langle l, w\rangle}.

The supremum is bounded from finitely many samples. **Lemma.** Let p be a complex trigonometric
polynomial of degree d in one variable and N > 2d. Then ``sup |p| <= max_grid |p| / cos(pi d / N)``
over the grid of N equispaced points. *Proof.* Let |p| have its maximum M at t0; multiply p by a
unimodular number so that p(t0) = M. The real trigonometric polynomial q = Re p has |q| <= M and
q(t0) = M, hence (M. Riesz) ``q(t) >= M cos(d (t - t0))`` for ``|t - t0| <= pi / d``; some grid
point is within pi/N of t0. ∎

Where the symbol's norm is largest, take the singular vectors u, v there and apply the lemma to
``u^* \hat W(w) v``, one variable after the other: with k taps an axis (degree d = floor(k/2) after
a shift, which has modulus one) and N points an axis,

.. math:: \sup_w \|\hat W(w)\| \le \cos(\pi d / N)^{-\#axes} \max_{grid} \|\hat W(w)\| .

References:
    Ehlich and Zeller 1964 (the lemma); Pfister and Bresler 2019, "Bounding multivariate
    trigonometric polynomials"; Sedghi, Gupta and Long 2019 (symbol of a convolution).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from equipoise.bounds import inflate
from equipoise.convolutions.circulant import transfer

#: Grid points per degree and axis: in two axes the bound exceeds the supremum by at most 0.25 %
#: (scalar symbols) and 1.8 % (matrix symbols, of which each sample costs an eigenvalue).
SCALAR_DENSITY, MATRIX_DENSITY = 64, 24
#: What rounding may take from a bound on an eigenvalue.
ROUNDING = 1.0 - 1e-9
#: Taps whose answers an operator remembers.
REMEMBERED = 16


class Peaks:
    """Where the symbols of the latest taps are largest, for an operator that asks several times.

    The filters of a training step are normalised for the solve, for the derivative and for the
    traits. Threads may share it: answers are right whatever each other's calls forget. Copies and
    pickles are empty.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[Tensor, Tensor], ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def of(self, taps: Tensor) -> Tensor:
        """Frequency (one angle an axis) of the grid where the symbol's norm is largest."""
        for known, frequency in self._known:  # a tuple, which no thread changes
            same_kind = known.shape == taps.shape and known.device == taps.device
            if same_kind and torch.equal(known, taps):
                return frequency
        frequency = _largest_at(taps)
        self._known = ((taps.clone(), frequency), *self._known[: REMEMBERED - 1])
        return frequency


def convolution_norm(weight: Tensor, peaks: Peaks | None = None) -> Tensor:
    """Bound the operator norm of a convolution from above, for every image size.

    The bound is computed in float64 and inflated against rounding, holds for zero and for circular
    padding and for any stride, and is differentiable: its derivative is that of the symbol's norm
    at the frequency where that is largest.

    Args:
        weight: taps of shape (m, c, *kernel), real, any number of spatial axes.
        peaks: the caller's memory of where symbols are largest, which is what costs.

    Returns:
        0-d tensor of the weight's dtype.
    """
    taps = weight.double()
    kernel = taps.shape[2:]
    with torch.no_grad():
        frequency = _largest_at(taps) if peaks is None else peaks.of(taps)
    symbol = _symbol_at(taps, frequency)
    largest = torch.linalg.svdvals(symbol)[0]
    correction = math.prod(
        1.0 / math.cos(math.pi * (k // 2) / n) for k, n in zip(kernel, _grid(taps), strict=True)
    )
    return (inflate(correction) * largest).to(weight.dtype)


def _grid(taps: Tensor) -> tuple[int, ...]:
    """Points per axis; a single one where the kernel has one tap."""
    density = SCALAR_DENSITY if min(taps.shape[:2]) == 1 else MATRIX_DENSITY
    return tuple(max(1, density * (k // 2)) for k in taps.shape[2:])


def _largest_at(taps: Tensor) -> Tensor:
    """Frequency (one angle an axis) of the grid where the symbol's norm is largest."""
    grid = _grid(taps)
    # Real taps: the symbol at -w is the conjugate of that at w, so half of the last axis suffices.
    gram = transfer(_autocorrelation(taps), grid)
    index = torch.unravel_index(_largest_eigenvalue(gram.flatten(2)), gram.shape[2:])
    turns = [2.0 * math.pi * i / n for i, n in zip(index, grid, strict=True)]
    return torch.stack(turns)


def _largest_eigenvalue(gram: Tensor) -> Tensor:
    """Index of the matrix with the largest eigenvalue, 0-d.

    Eigenvalues are computed where ``(tr G^8)^(1/8)``, which is none smaller, exceeds the largest
    eigenvalue of one promising matrix.

    Args:
        gram: Hermitian and positive semi-definite, shape (c, c, matrices).
    """
    if len(gram) == 1:
        return gram.real.flatten().argmax()
    matrices = gram.permute(2, 0, 1).contiguous()
    size = _frobenius(matrices).amax().clamp_min(torch.finfo(torch.float64).tiny)
    power = matrices / size
    for _ in range(2):
        power = power @ power
    bounds = size * _frobenius(power).pow(0.25)
    first = bounds.argmax()
    at_least = torch.linalg.eigvalsh(matrices[first])[-1]
    left = (bounds >= ROUNDING * at_least).nonzero().squeeze(1)
    return left[torch.linalg.eigvalsh(matrices[left])[:, -1].argmax()]


def _frobenius(matrices: Tensor) -> Tensor:
    return torch.view_as_real(matrices).flatten(1).norm(dim=1)


def _autocorrelation(taps: Tensor) -> Tensor:
    """The kernels of ``W^T W`` or ``W W^T``, whichever is smaller, at all lags of the taps.

    Its Fourier transform is the Gram matrix of the symbol: transforms on the fine grid and
    products are needed for the smaller number of channels squared alone.

    Returns:
        Tensor of shape (c, c, *sizes), odd sizes, centred.
    """
    axes = tuple(range(2, taps.dim()))
    lags = [2 * k - 1 for k in taps.shape[2:]]
    waves = torch.fft.fftn(taps, s=lags, dim=axes)
    pattern = "mc...,md...->cd..." if taps.shape[0] >= taps.shape[1] else "cm...,dm...->cd..."
    gram = torch.einsum(pattern, waves.conj(), waves)
    return torch.fft.fftshift(torch.fft.ifftn(gram, dim=axes).real, dim=axes)


def _symbol_at(taps: Tensor, frequency: Tensor) -> Tensor:
    """``sum_l W_l e^{-i <l, w>}`` at one frequency, shape (m, c), complex."""
    for angle in frequency.flip(0):  # contract the last axis first
        steps = torch.arange(taps.shape[-1], device=taps.device, dtype=torch.float64)
        phase = torch.polar(torch.ones_like(steps), -angle * steps)
        taps = (taps * phase).sum(-1)
    return taps
