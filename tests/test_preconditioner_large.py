"""What the preconditioner does otherwise for large images: a grid of curvatures, part by part."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equipoise import Equation
from equipoise.convolutions import circulant, local_curvature, tiles
from equipoise.convolutions.sandwich import ConvolutionSandwich
from equipoise.problems import denoise
from equipoise.regularizers import Regularizer, build
from equipoise.regularizers.operators import ConvolutionChain

PADDINGS = ("zero", "circular")


def chain(padding: str, dims: int = 2) -> Regularizer:
    torch.manual_seed(0)
    options = {"filters": (2, 5), "kernel_size": 3, "padding": padding, "dims": dims}
    return build("ridge", **options).double()


def images(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("budget", [4_000_000, 600])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1), (3, 2)])
def test_samples_are_the_features_at_every_so_many_pixels(
    padding: str, budget: int, strides: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "CACHE", budget)
    torch.manual_seed(1)
    operator = ConvolutionChain(1, (2, 5), 3, padding=padding).double()  # type: ignore[arg-type]
    bias, x = images(5), images(2, 1, 17, 22)
    weights = tuple(w.detach() for w in operator.weights())
    sandwich = ConvolutionSandwich(weights, weights, bias, operator.padding)
    whole = operator.apply_to(x, weights, bias)[..., :: strides[0], :: strides[1]]
    found = torch.full_like(whole, torch.nan)
    for tile, features in sandwich.samples(x, strides):
        tile.box(found).copy_(features)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", [(40,), (24, 31), (9, 12, 8)])
def test_a_grid_in_tiles_gives_what_it_gives_whole(
    padding: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_curvature, "LONG", 8)
    frozen, x = chain(padding, len(shape)).frozen(), images(2, 1, *shape)
    whole = frozen.local_kernels(x)
    monkeypatch.setattr(tiles, "CACHE", 600)
    tiled = frozen.local_kernels(x)
    assert whole is not None
    assert tiled is not None
    assert whole.windows.shape[2:] == shape
    torch.testing.assert_close(whole.windows.sum(1), torch.ones_like(x[:, 0]))
    torch.testing.assert_close(tiled.windows, whole.windows)
    torch.testing.assert_close(tiled.kernels, whole.kernels)


def test_a_grid_tells_nearly_what_all_pixels_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where curvature varies slowly, a quarter of the pixels gives the same operator."""
    torch.manual_seed(0)
    options = {"filters": (2, 6), "kernel_size": 5, "weak_convexity": 0.0}
    regularizer = build("ridge", **options).double()
    line = torch.linspace(0, 6, 64, dtype=torch.float64)
    x = 20.0 * (line.sin()[:, None] * line.cos())[None, None]
    problem = denoise((1, 64, 64), sigma=0.1, dtype=torch.float64)
    equation = Equation(problem.physics, x, regularizer, 1.0)
    v = images(1, 1, 64, 64)
    everywhere = equation.preconditioner(x)
    monkeypatch.setattr(local_curvature, "LONG", 8)
    sampled = equation.preconditioner(x)
    assert everywhere is not None
    assert sampled is not None
    first, second = everywhere(v), sampled(v)
    assert float((first - second).norm() / first.norm()) < 0.05
    assert not torch.equal(first, second)


@pytest.mark.parametrize("channels", [1, 3])
def test_parts_one_by_one_give_what_they_give_together(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    regularizer = build("tied-conv", channels=channels, filters=6, kernel_size=3).double()
    x = images(2, channels, 12, 9)
    problem = denoise((channels, 12, 9), sigma=0.1, dtype=torch.float64)
    inverse = Equation(problem.physics, x, regularizer, 0.5).preconditioner(x)
    assert inverse is not None
    steps = images(2, 3, channels, 12, 9)
    changes = steps + 0.1 * steps.flip(3)
    together = inverse(x), inverse.adapted(steps, changes)
    monkeypatch.setattr(circulant, "LARGE", 1)
    single = inverse(x), inverse.adapted(steps, changes)
    torch.testing.assert_close(single[0], together[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(single[1].floor, together[1].floor)
