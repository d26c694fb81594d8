"""Plans of tiles: every pixel once, margins, budgets."""

from __future__ import annotations

from math import prod

import pytest
import torch

from equipoise.convolutions.tiles import GRAIN, plan


@pytest.mark.parametrize(
    ("batch", "shape", "budget"),
    [
        (1, (480, 320), 100_000),
        (3, (61, 43), 9_000),
        (5, (16, 16), 40_000),
        (2, (7, 300), 4_000),
        (1, (9, 9), 1),
        (2, (1000,), 3_000),
        (1, (20, 31, 17), 30_000),
    ],
)
def test_tiles_hold_every_pixel_once(batch: int, shape: tuple[int, ...], budget: int) -> None:
    margin = (2,) * len(shape)
    tiles = plan(batch, shape, margin, 4, budget)
    seen = torch.zeros(batch, 1, *shape)
    for number, tile in enumerate(tiles):
        assert tile.index == number
        tile.box(seen).add_(1.0)
        assert all(low % GRAIN == 0 for low in tile.low)
    assert bool((seen == 1).all())


def test_small_images_share_a_tile_and_large_ones_are_cut_to_the_budget() -> None:
    several = plan(8, (16, 16), (2, 2), 4, 4 * 16 * 16 * 3)
    assert [tile.samples.stop - tile.samples.start for tile in several] == [3, 3, 3]
    assert all(tile.whole for tile in several)
    parts = plan(1, (512, 384), (2, 2), 256, 2_500_000)
    assert not any(tile.whole for tile in parts)
    sizes = [prod(h - l for l, h in zip(t.low, t.high, strict=True)) for t in parts]
    assert max(sizes) * 256 <= 1.2 * 2_500_000
    assert min(sizes) * 256 >= 0.5 * 2_500_000


@pytest.mark.parametrize(("size", "margin"), [(9, 2), (11, 4), (40, 9), (17, 1)])
def test_outside_is_what_no_pixel_of_the_image_is(size: int, margin: int) -> None:
    tiles = plan(1, (size,), (margin,), 4, 32)
    assert len(tiles) > 1
    places = 1000.0 + torch.arange(-margin, size + margin).reshape(1, 1, -1)
    for tile in tiles:
        features = tile.box(places, reach=1).clone()
        inside = (features >= 1000) & (features < 1000 + size)
        tile.clear_outside(features)
        assert torch.equal(features != 0, inside)


def test_margins_are_zero_where_asked_for() -> None:
    corner, *_ = plan(1, (64, 64), (2, 3), 4, 4_000)
    height, width = (h - l for l, h in zip(corner.low, corner.high, strict=True))
    features = torch.ones(1, 2, height + 4, width + 6)
    corner.clear_outside(features)
    assert bool((features[:, :, :2] == 0).all())
    assert bool((features[..., :3] == 0).all())
    assert bool((features[:, :, 2:, 3:] == 1).all())
    corner.clear_margin(features)
    assert float(features.sum()) == 2 * height * width
    assert corner.interior(features).shape == (1, 2, height, width)
