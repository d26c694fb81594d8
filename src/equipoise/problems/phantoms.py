"""Synthetic images of which every detail is known, on any grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.checks import require_count
from equipoise.errors import InputError

#: Points per pixel and axis whose mean is the pixel's value: edges are sharp, not jagged.
SUPERSAMPLING = 4

#: Modified Shepp-Logan phantom (Toft 1996, table B.3): intensity added, half axes a (along x) and
#: b (along y), centre x, centre y, rotation in degrees; the square is [-1, 1]^2, y upwards.
SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)


def shepp_logan(image_shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw the modified Shepp-Logan phantom, a head in ten ellipses.

    Formula: sum of the ellipses' intensities (Toft 1996, table B.3), averaged over each pixel.

    Args:
        image_shape: (C, H, W); channels are equal, the square is stretched to the grid.
        dtype: torch.float32 or torch.float64.

    Returns:
        Image (C, H, W) with values in [0, 1].

    Raises:
        InputError: if the shape is no image's.
    """
    x, y = _points(image_shape)
    image = torch.zeros_like(x)
    for value, *ellipse in SHEPP_LOGAN:
        image += value * _inside(x, y, *ellipse)
    return _pixels(image, image_shape, dtype)


def random_ellipses(
    image_shape: tuple[int, ...],
    *,
    seed: int = 0,
    count: int = 12,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Draw overlapping ellipses of random place, size, direction and intensity on black.

    Args:
        image_shape: (C, H, W); channels are equal.
        seed: of everything random; the same picture on every grid.
        count: number of ellipses, at least 1.
        dtype: torch.float32 or torch.float64.

    Returns:
        Image (C, H, W) with values in [0, 1].

    Raises:
        InputError: if the shape is no image's or there is no ellipse.
    """
    x, y = _points(image_shape)
    image = torch.zeros_like(x)
    for value, a, b, across, up, turn in _drawn("ellipses", count, 6, seed):
        ellipse = (0.08 + 0.4 * a, 0.08 + 0.4 * b, 1.2 * across - 0.6, 1.2 * up - 0.6, 180 * turn)
        image += (0.6 * value - 0.15) * _inside(x, y, *ellipse)
    return _pixels(image, image_shape, dtype)


def mosaic(
    image_shape: tuple[int, ...],
    *,
    seed: int = 0,
    count: int = 16,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Draw a piecewise constant image: cells nearest to random points, each of a random gray.

    Args:
        image_shape: (C, H, W); channels are equal.
        seed: of everything random; the same picture on every grid.
        count: number of cells, at least 1.
        dtype: torch.float32 or torch.float64.

    Returns:
        Image (C, H, W) with values in [0, 1], edges across the whole image.

    Raises:
        InputError: if the shape is no image's or there is no cell.
    """
    x, y = _points(image_shape)
    image, nearest = torch.zeros_like(x), torch.full_like(x, math.inf)
    for value, across, up in _drawn("cells", count, 3, seed):
        distance = (x - 2 * across + 1) ** 2 + (y - 2 * up + 1) ** 2
        image = torch.where(distance < nearest, value, image)
        nearest = torch.minimum(nearest, distance)
    return _pixels(image, image_shape, dtype)


def phantoms(
    image_shape: tuple[int, ...], *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Draw every phantom of this module on one grid.

    Args:
        image_shape: (C, H, W).
        seed: of the random ones.
        dtype: torch.float32 or torch.float64.

    Returns:
        Name to image (C, H, W) with values in [0, 1].

    Raises:
        InputError: if the shape is no image's.
    """
    return {
        "shepp-logan": shepp_logan(image_shape, dtype=dtype),
        "ellipses": random_ellipses(image_shape, seed=seed, dtype=dtype),
        "mosaic": mosaic(image_shape, seed=seed, dtype=dtype),
    }


def _points(image_shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Coordinates x, y in [-1, 1] of all sample points, (H s, W s), s per pixel and axis."""
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise InputError(f"A phantom is drawn on a grid (C, H, W), got {image_shape}.")
    rows, columns = (SUPERSAMPLING * size for size in image_shape[1:])
    y = 1.0 - (2.0 * torch.arange(rows, dtype=torch.float64) + 1.0) / rows
    x = (2.0 * torch.arange(columns, dtype=torch.float64) + 1.0) / columns - 1.0
    return x[None, :].expand(rows, columns), y[:, None].expand(rows, columns)


def _inside(
    x: Tensor, y: Tensor, a: float, b: float, across: float, up: float, degrees: float
) -> Tensor:
    """1 in the ellipse with half axes a, b, turned about its centre, and 0 outside."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    u, v = x - across, y - up
    return (((c * u + s * v) / a) ** 2 + ((c * v - s * u) / b) ** 2 <= 1.0).to(x.dtype)


def _pixels(image: Tensor, image_shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Mean of the points of each pixel, cut to [0, 1], repeated over the channels."""
    small = torch.nn.functional.avg_pool2d(image.clamp(0.0, 1.0)[None], SUPERSAMPLING)
    return small.to(dtype).repeat(image_shape[0], 1, 1)


def _drawn(what: str, count: int, numbers: int, seed: int) -> list[list[float]]:
    """For each thing that is drawn so many random numbers in [0, 1)."""
    require_count(f"The number of {what}", count)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, numbers), generator=generator, dtype=torch.float64).tolist()
