"""Boxes of samples and pixels whose features fit into a processor's caches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod

from torch import Tensor

#: Bytes of features that are held at once: what stays in a processor's caches, and elsewhere what
#: keeps the memory of large images within bounds.
CACHE, DEVICE = 4_000_000, 2**29
#: Tiles begin at multiples of this many pixels, so that blocks of pixels fit.
GRAIN = 8


@dataclass(frozen=True)
class Tile:
    """Some samples and a box of their pixels.

    Features of a tile reach beyond the box by ``margin`` pixels on every side, unless the tile is
    ``whole``: then they are those of the image, without a margin.

    Args:
        index: number of the tile in its plan.
        samples: which samples.
        low: first pixel along each axis.
        high: the one after the last.
        shape: spatial shape of the image.
        margin: of the features, along each axis.
        whole: whether the box is the image.
    """

    index: int
    samples: slice
    low: tuple[int, ...]
    high: tuple[int, ...]
    shape: tuple[int, ...]
    margin: tuple[int, ...]
    whole: bool

    def box(self, images: Tensor, reach: int = 0) -> Tensor:
        """View of the tile's pixels in images padded by ``reach`` margins on every side."""
        view = images[self.samples]
        for axis, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            view = view.narrow(axis + 2, low, high - low + 2 * reach * self.margin[axis])
        return view

    def interior(self, features: Tensor) -> Tensor:
        """View without the margin."""
        if self.whole:
            return features
        for axis, margin in enumerate(self.margin, start=2):
            features = features.narrow(axis, margin, features.shape[axis] - 2 * margin)
        return features

    def clear_margin(self, features: Tensor) -> None:
        """Set the margin of a tile that is not whole to zero: sums count every pixel once."""
        for axis, margin in enumerate(self.margin, start=2):
            _clear(features, axis, 0, margin)
            _clear(features, axis, features.shape[axis] - margin, margin)

    def clear_outside(self, features: Tensor) -> None:
        """Set to zero what lies outside the image, next to a tile narrower than a margin too."""
        if not self.whole:
            for axis, margin in enumerate(self.margin):
                before = max(0, margin - self.low[axis])
                after = max(0, self.high[axis] + margin - self.shape[axis])
                _clear(features, axis + 2, 0, before)
                _clear(features, axis + 2, features.shape[axis + 2] - after, after)


def _clear(features: Tensor, axis: int, start: int, length: int) -> None:
    features.narrow(axis, start, length).zero_()


def cut(batch: int, shape: tuple[int, ...], filters: Tensor) -> tuple[Tile, ...]:
    """Plan for the features of a convolution.

    Args:
        batch: number of images.
        shape: their spatial shape.
        filters: shape (features, channels, *sizes).
    """
    return plan(batch, shape, *demands(filters))


def cut_grid(batch: int, shape: tuple[int, ...], filters: Tensor) -> tuple[Tile, ...]:
    """Plan for the features of a convolution on a grid of pixels; these tiles have no margin.

    Args:
        batch: number of images.
        shape: of the grid.
        filters: shape (features, channels, *sizes).
    """
    _, *room = demands(filters)
    return plan(batch, shape, (0,) * len(shape), *room)


def demands(filters: Tensor) -> tuple[tuple[int, ...], int, int]:
    """What :func:`plan` must know of filters: margin, bytes of all features at a pixel, budget."""
    margin = tuple(size // 2 for size in filters.shape[2:])
    budget = CACHE if filters.device.type == "cpu" else DEVICE
    return margin, len(filters) * filters.element_size(), budget


@lru_cache(maxsize=256)
def plan(
    batch: int, shape: tuple[int, ...], margin: tuple[int, ...], bytes_per_pixel: int, budget: int
) -> tuple[Tile, ...]:
    """Divide a batch: several small images make one tile, a large image several.

    Args:
        batch: number of images.
        shape: their spatial shape.
        margin: pixels that features reach beyond a box, along each axis.
        bytes_per_pixel: of all features.
        budget: bytes of features that are wanted at once, a margin apart.
    """
    pixels = max(1, budget // bytes_per_pixel)
    if prod(shape) <= pixels:
        step = max(1, pixels // prod(shape))
        origin = (0,) * len(shape)
        starts = range(0, batch, step)
        return tuple(
            Tile(i, slice(start, start + step), origin, shape, shape, margin, True)
            for i, start in enumerate(starts)
        )
    edges = [_edges(size, parts) for size, parts in zip(shape, _parts(shape, pixels), strict=True)]
    tiles: list[Tile] = []
    for sample in range(batch):
        one = slice(sample, sample + 1)
        for box in itertools.product(*edges):
            low, high = tuple(cut[0] for cut in box), tuple(cut[1] for cut in box)
            tiles.append(Tile(len(tiles), one, low, high, shape, margin, False))
    return tuple(tiles)


def _parts(shape: Sequence[int], pixels: int) -> list[int]:
    """Into how many parts to cut each axis: boxes as square as can be."""
    parts = [1] * len(shape)
    while prod(ceil(size / n) for size, n in zip(shape, parts, strict=True)) > pixels:
        lengths = [size / n for size, n in zip(shape, parts, strict=True)]
        longest = lengths.index(max(lengths))
        if lengths[longest] <= GRAIN:
            break
        parts[longest] += 1
    return parts


def _edges(size: int, parts: int) -> list[tuple[int, int]]:
    """Nearly equal intervals that begin at multiples of the grain."""
    inner = sorted({round(i * size / parts / GRAIN) * GRAIN for i in range(1, parts)})
    cuts = [0, *(c for c in inner if 0 < c < size), size]
    return list(itertools.pairwise(cuts))
