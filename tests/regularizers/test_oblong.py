"""Filters and images whose axes differ in size: nothing mistakes one axis for another."""

from __future__ import annotations

from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.convolutions import tiles
from equipoise.convolutions.circulant import local_inverse, transfer
from equipoise.convolutions.convolution import (
    Correlation,
    Padding,
    correlate,
    correlate_adjoint,
    zero_mean,
)
from equipoise.convolutions.local_curvature import local_kernels
from equipoise.convolutions.norm import convolution_norm
from equipoise.convolutions.sandwich import ConvolutionSandwich
from equipoise.convolutions.sandwich_gradient import Layers, sandwiched
from equipoise.convolutions.tiles import Tile
from equipoise.regularizers.operators import _autocorrelations
from equipoise.regularizers.profiles import LogCosh

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
#: Sizes of filters and of images, the first with a tile of one row at its end.
OBLONG = [
    ((5, 1), (9, 6)),
    ((3, 5), (25, 17)),
    ((5, 1), (13, 22)),
    ((1, 7), (9, 26)),
    ((3, 1, 5), (6, 9, 11)),
]
#: Whole images, or tiles of a few pixels.
BUDGETS = [2**40, 2_000]

oblong = pytest.mark.parametrize(("kernel", "size"), OBLONG, ids=str)
paddings = pytest.mark.parametrize("padding", ["zero", "circular"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def plain(x: Tensor, filters: Tensor, bias: Tensor | None, padding: Padding) -> Tensor:
    """torch's own convolution of images that were padded explicitly."""
    widths = [size // 2 for size in reversed(filters.shape[2:]) for _ in range(2)]
    mode = "circular" if padding == "circular" else "constant"
    return CONV[x.dim() - 2](F.pad(x, widths, mode=mode), filters, bias)


@pytest.mark.parametrize("outputs", [1, 3, 20])
@paddings
@oblong
def test_correlations_and_their_adjoints(
    kernel: tuple[int, ...], size: tuple[int, ...], padding: Padding, outputs: int
) -> None:
    x, filters, bias = normal(2, 2, *size), normal(outputs, 2, *kernel, seed=1), normal(outputs)
    expected = plain(x, filters, bias, padding)
    torch.testing.assert_close(correlate(x, filters, bias, padding), expected)
    z = normal(*expected.shape, seed=2)
    (back,) = torch.autograd.grad(
        plain(x.requires_grad_(), filters, None, padding), x, z, retain_graph=False
    )
    torch.testing.assert_close(correlate_adjoint(z, filters, padding), back)


@oblong
def test_valid_full_and_strided_correlations(
    kernel: tuple[int, ...], size: tuple[int, ...]
) -> None:
    x, filters, bias = normal(2, 2, *size), normal(3, 2, *kernel, seed=1), normal(3)
    made, conv = Correlation(filters, bias, "zero"), CONV[len(size)]
    torch.testing.assert_close(made.valid(x), conv(x, filters, bias))
    widths = [n - 1 for n in reversed(kernel) for _ in range(2)]
    torch.testing.assert_close(made.full(x), conv(F.pad(x, widths), filters, bias))
    strides = [2, 3, 1][: len(size)]
    expected = conv(x, filters, bias)[(..., *(slice(None, None, s) for s in strides))]
    torch.testing.assert_close(made.every(x, strides), expected)


@pytest.mark.parametrize("budget", BUDGETS)
@paddings
@oblong
def test_sandwiches_and_their_samples(
    kernel: tuple[int, ...],
    size: tuple[int, ...],
    padding: Padding,
    budget: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "CACHE", budget)
    x, bias = normal(2, 1, *size), normal(6)
    inner = [normal(2, 1, *kernel, seed=1), normal(6, 2, *kernel, seed=2)]
    outer = [normal(2, 1, *kernel, seed=3), normal(6, 2, *kernel, seed=4)]
    features = plain(plain(x, inner[0], None, padding), inner[1], bias, padding)
    made = ConvolutionSandwich(inner, outer, bias, padding)
    expected = features.tanh()
    for layer in reversed(outer):
        expected = correlate_adjoint(expected, layer, padding)
    torch.testing.assert_close(made(x, lambda z, tile: z.tanh()), expected)
    strides = [2, 3, 1][: len(size)]
    sparse = features[(..., *(slice(None, None, s) for s in strides))]
    found = torch.full_like(sparse, torch.nan)
    for tile, values in made.samples(x, strides):
        tile.box(found).copy_(values)
    torch.testing.assert_close(found, sparse)


@pytest.mark.parametrize("budget", BUDGETS)
@paddings
@oblong
def test_derivatives_of_fields(
    kernel: tuple[int, ...],
    size: tuple[int, ...],
    padding: Padding,
    budget: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "CACHE", budget)
    x = normal(2, 1, *size).requires_grad_()
    shapes = [(2, 1, *kernel), (5, 2, *kernel), (2, 1, *kernel), (5, 2, *kernel), (5,)]
    leaves = [(0.4 * normal(*s, seed=k)).requires_grad_() for k, s in enumerate(shapes)]
    layers = Layers.between(leaves[:2], leaves[2:4], leaves[4], LogCosh(), padding)
    features = plain(plain(x, leaves[0], None, padding), leaves[1], leaves[4], padding)
    formula = correlate_adjoint(features.tanh(), leaves[3], padding)
    formula = correlate_adjoint(formula, leaves[2], padding)
    value, q = sandwiched(x, layers), normal(2, 1, *size, seed=9)
    torch.testing.assert_close(value, formula)
    ours = torch.autograd.grad(value, [x, *leaves], q)
    theirs = torch.autograd.grad(formula, [x, *leaves], q)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@paddings
@oblong
def test_norms_are_no_smaller_than_dense_ones(
    kernel: tuple[int, ...], size: tuple[int, ...], padding: Padding
) -> None:
    filters = normal(2, 1, *kernel, seed=1)
    small = tuple(min(n, 8) for n in size)
    basis = torch.eye(prod(small), dtype=torch.float64).reshape(-1, 1, *small)
    dense = correlate(basis, filters, None, padding).flatten(1)
    exact = float(torch.linalg.matrix_norm(dense, 2))
    assert exact <= float(convolution_norm(filters)) <= 1.6 * exact


@oblong
def test_local_kernels_are_the_operator_where_the_curvature_is_constant(
    kernel: tuple[int, ...], size: tuple[int, ...]
) -> None:
    filters, curvature = zero_mean(normal(3, 1, *kernel, seed=1)), torch.tensor([0.5, 2.0, 1.0])
    tile = Tile(0, slice(0, 1), (0,) * len(size), size, size, (0,) * len(size), True)
    weights = curvature.double().reshape(1, 3, *[1] * len(size)).expand(1, 3, *size)
    ones = (1,) * len(size)
    found = local_kernels([(tile, weights)], _autocorrelations((filters,)), (1, *size), ones)
    inverse = local_inverse(found, torch.ones(1, 1, *ones).double(), 1e-9)
    x = normal(1, 1, *size, seed=3)
    features = correlate(x, filters, None, "circular")
    features = weights * features
    image = x + correlate_adjoint(features, filters, "circular")
    torch.testing.assert_close(inverse(image), x)


@oblong
def test_local_kernels_average_over_each_part(
    kernel: tuple[int, ...], size: tuple[int, ...]
) -> None:
    # Curvature 1 on one half of the last axis and 100 on the other.
    weights = torch.ones(1, 1, *size).double()
    weights[..., size[-1] // 2 :] = 100.0
    tile = Tile(0, slice(0, 1), (0,) * len(size), size, size, (0,) * len(size), True)
    filters = normal(1, 1, *kernel, seed=1)
    found = local_kernels(
        [(tile, weights)], _autocorrelations((filters,)), (1, *size), [1] * len(size)
    )
    torch.testing.assert_close(found.windows.sum(1), torch.ones(1, *size).double())
    heaviest = found.windows.argmax(1)
    assert bool((heaviest[..., 0] < heaviest[..., -1]).all())
    first = heaviest.reshape(-1, size[-1])
    assert bool((first == first[0]).all())  # nothing varies along the other axes


@pytest.mark.parametrize("strides", [(1, 2), (2, 1)])
def test_curvatures_are_smoothed_alike_whatever_the_distance_of_their_pixels(
    strides: tuple[int, int],
) -> None:
    # The mean is over 5 x 5 pixels: 5 on an axis of distance 1, 3 on one of distance 2.
    grid = (16, 14)
    size = tuple(n * stride for n, stride in zip(grid, strides, strict=True))
    weights = torch.ones(1, 1, *grid).double()
    weights[..., 8, 7] = 1e6
    tile = Tile(0, slice(0, 1), (0, 0), grid, grid, (0, 0), True)
    taps = _autocorrelations((normal(1, 1, 3, 3, seed=1),))
    windows = local_kernels([(tile, weights)], taps, (1, *size), strides).windows
    assert windows.shape == (1, 4, *size)
    seen = windows[0, 0] < 0.5  # pixels that the means of means have reached
    for axis, stride in enumerate(strides):
        reach = 2 * (2 // stride) * stride  # twice half a mean
        rows = seen.any(1 - axis).nonzero().flatten()
        assert abs(int(rows[-1] - rows[0]) - 2 * reach) <= 2 * (stride - 1) + 1


@pytest.mark.parametrize("size", [(3, 5), (5, 3), (7, 4)])
def test_transfer_functions_multiply_waves(size: tuple[int, int]) -> None:
    filters, grid = normal(2, 1, 3, 5, seed=1), (size[0] + 4, size[1] + 6)
    x = normal(1, 1, *grid)
    wave = transfer(filters.flip(2, 3), grid)[:, 0] * torch.fft.rfftn(x[:, 0], dim=(-2, -1))
    expected = correlate(x, filters, None, "circular")
    torch.testing.assert_close(torch.fft.irfftn(wave, s=grid, dim=(-2, -1))[None], expected)
