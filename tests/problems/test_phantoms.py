"""Phantoms: values, determinism, the same picture on every grid, an independent drawing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom

from equipoise.errors import InputError
from equipoise.problems import mosaic, phantoms, random_ellipses, shepp_logan

DRAWN = [shepp_logan, random_ellipses, mosaic]


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("shape", [(1, 33, 20), (3, 16, 16), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_of_every_shape_and_dtype(draw: Any, shape: tuple[int, ...], dtype: Any) -> None:
    image = draw(shape, dtype=dtype)
    assert image.shape == shape
    assert image.dtype == dtype
    assert float(image.min()) >= 0.0
    assert float(image.max()) <= 1.0
    assert torch.equal(image, draw(shape, dtype=dtype))
    assert torch.equal(image[:1].expand_as(image), image)


@pytest.mark.parametrize("draw", DRAWN)
def test_the_picture_does_not_depend_on_the_grid(draw: Any) -> None:
    fine, coarse = draw((1, 96, 64)), draw((1, 48, 32))
    assert float(coarse.std()) > 0.05
    reduced = torch.nn.functional.avg_pool2d(fine, 2)
    assert float((reduced - coarse).square().mean().sqrt()) < 0.1 * float(coarse.std())


def test_shepp_logan_is_scikit_images() -> None:
    ours, theirs = shepp_logan((1, 400, 400))[0].numpy(), shepp_logan_phantom()
    differ = np.abs(ours - theirs)
    assert float((differ > 0.02).mean()) < 0.03  # edges only
    assert float((np.abs(ours[::-1] - theirs) > 0.02).mean()) > 0.1
    assert float((np.abs(ours[:, ::-1] - theirs) > 0.02).mean()) > 0.04


def test_a_mosaic_is_piecewise_constant() -> None:
    image = mosaic((1, 128, 128), seed=3, count=5)
    values, pixels = torch.unique(image, return_counts=True)
    flat = values[pixels > 100]
    assert 2 <= len(flat) <= 5
    assert int(pixels[pixels > 100].sum()) > 0.93 * image.numel()
    assert torch.equal(
        mosaic((1, 8, 8), count=1), mosaic((1, 8, 8), count=1)[:, :1, :1].expand(1, 8, 8)
    )


@pytest.mark.parametrize("draw", [random_ellipses, mosaic])
def test_seeds_make_other_pictures(draw: Any) -> None:
    assert not torch.equal(draw((1, 32, 32), seed=0), draw((1, 32, 32), seed=1))


def test_all_phantoms_differ() -> None:
    found = phantoms((1, 40, 40), seed=2, dtype=torch.float64)
    assert list(found) == ["shepp-logan", "ellipses", "mosaic"]
    assert torch.equal(found["mosaic"], mosaic((1, 40, 40), seed=2, dtype=torch.float64))
    assert torch.equal(found["ellipses"], random_ellipses((1, 40, 40), seed=2, dtype=torch.float64))
    assert not torch.equal(found["mosaic"], mosaic((1, 40, 40), dtype=torch.float64))


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("shape", [(8, 8), (1, 0, 8), (1, 1, 8, 8)])
def test_other_grids_are_refused(draw: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="grid"):
        draw(shape)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="ellipse"):
        random_ellipses((1, 8, 8), count=0)
    with pytest.raises(InputError, match="cell"):
        mosaic((1, 8, 8), count=0)
