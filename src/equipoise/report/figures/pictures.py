"""Photographs, error maps and filters as PNG data addresses, each on a stated gray scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from equipoise.compare.records import Array, TaskResult
from equipoise.report.figures.sheet import data_address

#: Steps of gray of an error map; they fit into four bits a pixel, which keeps the page small.
ERROR_LEVELS = 16

#: Largest side of a picture; the centre of a larger photograph is shown.
SIDE = 320

#: Side of the enlarged crop, where the photograph is large enough.
_CROP = 64

#: Most filters that are shown of one bank.
FILTERS_SHOWN = 32


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: rows ``top`` to ``top + height``, and columns likewise."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: Array) -> Array:
        """Cut the rectangle out of an image of shape (H, W) or (H, W, 3)."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def centre_window(image: Array) -> Window:
    """Give the central part of an image that is small enough for a page."""
    height, width = (min(SIDE, side) for side in image.shape[:2])
    return Window((image.shape[0] - height) // 2, (image.shape[1] - width) // 2, height, width)


def detail_window(truth: Array) -> Window:
    """Find where the truth has most detail: the crop with the largest gradient energy.

    The choice looks at no reconstruction, so it favours none.

    Args:
        truth: image of shape (H, W) or (H, W, 3).
    """
    gray = _gray(truth)
    height, width = (min(_CROP, max(1, side // 2)) for side in gray.shape)
    energy = sum(g**2 for g in np.gradient(gray)) if min(gray.shape) > 1 else gray * 0.0
    sums = np.pad(np.cumsum(np.cumsum(energy, 0), 1), ((1, 0), (1, 0)))
    boxes = (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
    top, left = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    return Window(int(top), int(left), height, width)


def picture(image: Array) -> str:
    """Encode an image with values in [0, 1]; what lies outside is clipped for display only."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return _encode(np.round(255 * np.clip(values, 0, 1)))


def error_map(image: Array, truth: Array, limit: float) -> str:
    """Encode ``|image - truth|`` in 16 grays: white is no error, black is ``limit`` or more.

    Args:
        image: reconstruction of shape (H, W) or (H, W, 3); channels are averaged.
        truth: photograph of the same shape.
        limit: error that is drawn black, positive.
    """
    error = np.nan_to_num(absolute_error(image, truth), nan=limit, posinf=limit)
    steps = np.round((ERROR_LEVELS - 1) * np.minimum(error / limit, 1)).astype(np.uint8)
    grays = np.linspace(255, 0, ERROR_LEVELS).round().astype(np.uint8)
    indexed = Image.fromarray(steps, mode="P")
    indexed.putpalette(np.repeat(grays, 3).tobytes())
    return data_address(indexed, bits=4)


def absolute_error(image: Array, truth: Array) -> Array:
    """Absolute error of each pixel, averaged over colours, shape (H, W)."""
    return _gray(np.abs(np.asarray(image, dtype=np.float64) - truth))


def error_limit(task: TaskResult, names: list[str]) -> float:
    """Choose the task's common error scale.

    The 99 % quantile of the reconstructions' errors, rounded up to 1, 2 or 5 times a power of ten.

    Args:
        task: reconstructions of every method.
        names: the photographs that are shown.
    """
    errors = [
        absolute_error(run.reconstructions[name], task.truths[name]).ravel()
        for run in task.runs
        for name in names
        if name in run.reconstructions
    ]
    values = np.concatenate(errors) if errors else np.empty(0)
    values = values[np.isfinite(values)]
    quantile = float(np.quantile(values, 0.99)) if len(values) else 1.0
    if quantile <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(quantile))
    return next((m * power for m in (1, 2, 5) if m * power >= quantile), 10 * power)


def filter_sheet(filters: Array, synthesis: Array | None) -> str:
    """Encode a sheet of filters, strongest first; zero is mid-gray.

    Each filter fills its own gray scale. With synthesis filters, W2 stands right of its W1 and
    the two share one scale, so that a tied pair would look the same twice.

    Args:
        filters: analysis filters of shape (K, h, w).
        synthesis: synthesis filters of the same shape, or None.
    """
    pairs: Array = filters[:, None] if synthesis is None else np.stack([filters, synthesis], 1)
    strength = np.sqrt((pairs**2).sum((2, 3))).prod(1)
    pairs = pairs[np.argsort(-strength, kind="stable")][:FILTERS_SHOWN]
    scale = np.abs(pairs).max((1, 2, 3), keepdims=True)
    shades: Array = 127.5 * (1 + pairs / np.where(scale > 0, scale, 1))
    count, width = pairs.shape[:2]
    zoom = max(1, 84 // max(filters.shape[1:]))
    shades = np.kron(shades, np.ones((zoom, zoom)))
    gap = 6
    halves = np.pad(shades, ((0, 0), (0, 0), (0, gap // 3), (0, gap // 3)), constant_values=255)
    cells = np.concatenate([halves[:, i] for i in range(width)], axis=2)
    cells = np.pad(cells, ((0, 0), (0, gap), (0, gap)), constant_values=255)
    columns = min(count, 8 // width)
    rows = -(-count // columns)
    blank = np.full((rows * columns - count, *cells.shape[1:]), 255.0)
    sheet = np.concatenate([cells, blank]).reshape(rows, columns, *cells.shape[1:])
    return _encode(np.round(sheet.transpose(0, 2, 1, 3).reshape(rows * cells.shape[1], -1)))


def _gray(image: Array) -> Array:
    values = np.asarray(image, dtype=np.float64)
    return values if values.ndim == 2 else values.mean(axis=2)


def _encode(values: Array) -> str:
    return data_address(Image.fromarray(values.astype(np.uint8)))
