"""The norm bound of convolutions: above every dense norm, tight, differentiable."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.convolutions.norm import _largest_eigenvalue, convolution_norm

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def dense_norm(weight: Tensor, size: tuple[int, ...], mode: str) -> float:
    """Spectral norm of the convolution matrix on images of one size (odd kernels)."""
    c, axes = weight.shape[1], weight.dim() - 2
    n = c * math.prod(size)
    basis = torch.eye(n, dtype=weight.dtype).reshape(n, c, *size)
    pads = [k // 2 for k in reversed(weight.shape[2:]) for _ in range(2)]
    out = CONVOLVE[axes](F.pad(basis, pads, mode=mode), weight)
    return float(torch.linalg.matrix_norm(out.reshape(n, -1), 2))


def fine_supremum(weight: Tensor, points: int) -> float:
    """Norm of the symbol on a grid much finer than the bound's, and of coprime size."""
    axes = tuple(range(2, weight.dim()))
    symbols = torch.fft.fftn(weight, s=[points] * len(axes), dim=axes).flatten(2).permute(2, 0, 1)
    return float(torch.linalg.matrix_norm(symbols, 2).max())


@pytest.mark.parametrize("mode", ["constant", "circular"])
@pytest.mark.parametrize(
    "shape", [(5, 1, 3, 3), (1, 4, 5, 3), (4, 3, 3, 3), (3, 4, 3, 1), (4, 2, 5), (2, 2, 3, 3, 3)]
)
def test_bound_dominates_the_dense_norm_at_every_size(shape: tuple[int, ...], mode: str) -> None:
    generator = torch.Generator().manual_seed(sum(shape))
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    bound = float(convolution_norm(weight))
    sizes = {1: [(7,), (30,)], 2: [(5, 6), (9, 8)], 3: [(4, 3, 5)]}[len(shape) - 2]
    norms = [dense_norm(weight, size, mode) for size in sizes]
    assert bound >= max(norms)
    assert bound <= 2.0 * max(norms)  # even on these tiny images not far off


@pytest.mark.parametrize(
    ("shape", "slack", "points"),
    [((8, 1, 5, 5), 1.003, 401), ((6, 5, 3, 3), 1.018, 201), ((6, 5, 9), 1.009, 1001)],
)
def test_bound_is_tight(shape: tuple[int, ...], slack: float, points: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    supremum = fine_supremum(weight, points)
    assert supremum <= float(convolution_norm(weight)) <= slack * supremum


def test_peak_between_grid_points_is_covered() -> None:
    # Taps (1, b, -2): |symbol|^2 = b^2 + 5 - 2 b cos w - 4 cos 2w has its maximum where
    # cos w = -b / 8; b puts that half-way between two of the 64 grid points.
    points = 64
    b = -8.0 * math.cos(2.0 * math.pi * 10.5 / points)
    weight = torch.tensor([[[1.0, b, -2.0]]], dtype=torch.float64)
    supremum = fine_supremum(weight, 100_003)
    assert fine_supremum(weight, points) < supremum * (1.0 - 1e-4)  # the grid alone is too low
    assert supremum <= float(convolution_norm(weight)) <= 1.0013 * supremum


def test_single_tap_is_the_matrix_norm() -> None:
    weight = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(2)).double()
    exact = float(torch.linalg.matrix_norm(weight.flatten(1), 2))
    assert float(convolution_norm(weight)) == pytest.approx(exact, rel=2e-6)
    assert float(convolution_norm(weight)) >= exact


def test_constant_filter_has_norm_of_its_sum() -> None:
    weight = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    assert 9.0 <= float(convolution_norm(weight)) <= 9.0 * 1.0025


def test_bound_scales_and_keeps_dtype() -> None:
    weight = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    bound = convolution_norm(weight)
    assert bound.dtype == torch.float32
    assert bound.shape == ()
    torch.testing.assert_close(convolution_norm(-3.0 * weight), 3.0 * bound)
    torch.testing.assert_close(convolution_norm(weight.double()).float(), bound)


@pytest.mark.parametrize("shape", [(3, 1, 3, 3), (3, 2, 3, 3), (2, 3, 5)])
def test_derivative_agrees_with_finite_differences(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(convolution_norm, weight, rtol=1e-6, atol=1e-8)


def test_zero_filters_have_a_finite_derivative() -> None:
    weight = torch.zeros(3, 2, 3, 3, requires_grad=True)
    bound = convolution_norm(weight)
    bound.backward()
    assert bound.item() == 0.0
    assert weight.grad is not None
    assert bool(torch.isfinite(weight.grad).all())


def test_filters_that_are_changed_in_place_are_not_taken_for_the_former_ones() -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    first = float(convolution_norm(weight))
    other = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    expected = float(convolution_norm(other.clone()))
    weight.copy_(other)
    assert float(convolution_norm(weight)) == expected != first
    assert float(convolution_norm(2.0 * weight)) == pytest.approx(2.0 * expected, rel=1e-12)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 30.0])
def test_the_largest_eigenvalue_is_found_without_computing_all(spread: float) -> None:
    generator = torch.Generator().manual_seed(2)
    roots = torch.randn(500, 6, 6, generator=generator, dtype=torch.complex128)
    sizes = torch.exp(spread * torch.randn(500, 1, 1, generator=generator, dtype=torch.float64))
    matrices = sizes * (roots @ roots.mH) if spread else torch.zeros_like(roots)
    tops = torch.linalg.eigvalsh(matrices)[:, -1]
    assert tops[_largest_eigenvalue(matrices.permute(1, 2, 0))] == tops.max()


def test_equal_matrices_all_have_the_largest_eigenvalue() -> None:
    matrices = torch.eye(3, dtype=torch.complex128).expand(7, 3, 3)
    assert 0 <= int(_largest_eigenvalue(matrices.permute(1, 2, 0))) < 7
