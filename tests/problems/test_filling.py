"""Filled pixels against a direct evaluation of the normalised convolution."""

from __future__ import annotations

import pytest
import torch

from equipoise.problems.filling import fill_missing
from equipoise.problems.masks import RandomPixels


@pytest.mark.parametrize("shape", [(2, 1, 24, 31), (1, 3, 16, 16), (1, 1, 9, 8, 7), (2, 1, 40)])
def test_constants_are_filled_exactly_and_known_pixels_kept(shape):
    mask = RandomPixels(0.1, seed=0).draw(shape[2:], shrink=False)
    x = torch.full(shape, 0.7, dtype=torch.float64)
    assert torch.allclose(fill_missing(mask * x, mask), x, atol=1e-14)
    x = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mask * fill_missing(mask * x, mask), mask * x)


def test_a_lone_hole_gets_the_gaussian_mean_of_its_neighbours():
    x = torch.rand(1, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(9, 9, dtype=torch.float64)
    mask[4, 4] = 0
    t = torch.arange(9, dtype=torch.float64) - 4
    g = torch.exp(-(t**2) / (2 * 0.7**2)) * (t.abs() <= 3)  # radius of the narrowest window
    weights = torch.outer(g, g) * mask
    expected = (weights * x[0, 0]).sum() / weights.sum()
    assert float(fill_missing(mask * x, mask)[0, 0, 4, 4]) == pytest.approx(float(expected))


def test_large_holes_are_filled_from_far():
    mask = torch.zeros(64, 64, dtype=torch.float64)
    mask[0, 0] = 1
    y = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    y[..., 0, 0] = 0.3
    assert torch.allclose(fill_missing(y, mask), torch.full_like(y, 0.3))


def test_smooth_images_are_filled_well():
    t = torch.linspace(0, 3, 64, dtype=torch.float64)
    x = (torch.sin(t)[:, None] * torch.cos(t))[None, None]
    mask = RandomPixels(0.5, seed=0).draw((64, 64), shrink=False)
    assert float((fill_missing(mask * x, mask) - x).abs().max()) < 0.1
