"""Flips and rotations of images that a physics turns into flips and rotations of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.adjointness import TOLERANCES
from equipoise.modes import verb
from equipoise.problems.patches import dihedral
from equipoise.randomness import normal_like
from equipoise.vectors import norm

#: Symmetries of the square, numbered as by ``dihedral``: quarter turns, then the same with a flip.
ELEMENTS = range(8)


@dataclass(frozen=True)
class Symmetry:
    """A pair of symmetries of the rectangle with ``A S = S' A``.

    White noise does not change under S', and S, S' keep inner products, so that turned
    measurements are measurements of the turned image and the whole data term turns with them.

    Args:
        image: S, a number as in :func:`equipoise.problems.patches.dihedral`, on the last two axes.
        measurement: S', the same for measurements.
    """

    image: int
    measurement: int


@verb
def symmetries(
    physics: LinearPhysics,
    image_shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> tuple[Symmetry, ...]:
    """Find the flips and rotations that commute with a physics.

    Each is tried on a random image: ``A S u`` and ``S' A u`` must agree up to rounding. S' is S
    itself where that holds, else another symmetry of the measurements' last two axes (half a turn
    of an image reverses the rows of its sinogram).

    Args:
        physics: a deepinv linear physics.
        image_shape: shape (C, *spatial) of one image; with one axis of space there is none.
        dtype: dtype of images.
        device: where the physics is.

    Returns:
        The symmetries, the identity first.
    """
    found = [Symmetry(0, 0)]
    if len(image_shape) < 3:
        return tuple(found)
    image = normal_like(torch.empty((1, *image_shape), dtype=dtype, device=device), 0)
    with torch.no_grad():
        y = physics.A(image)
        allowed = TOLERANCES[dtype] * norm(y)
        for element in _keeping(image)[1:]:
            turned = physics.A(dihedral(image, element))
            same = [element] if element in _keeping(y) else []
            for other in [*same, *_keeping(y)]:
                if bool((norm(turned - dihedral(y, other)) <= allowed).all()):
                    found.append(Symmetry(element, other))
                    break
    return tuple(found)


def inverse(element: int) -> int:
    """The number of the symmetry that undoes another one."""
    return element if element >= 4 else -element % 4


def turn(images: Tensor, elements: Tensor) -> Tensor:
    """Apply to each image of a batch a symmetry of its own, in one pass.

    Args:
        images: shape (B, ..., H, W); vectors (B, n), which only the identity keeps, stay.
        elements: numbers as in ``dihedral``, shape (B,), integer; odd ones for H = W alone.

    Returns:
        The turned images, of the same shape.
    """
    if images.dim() < 3:
        return images
    height, width = images.shape[-2:]
    places = _places(height, width, images.device)[elements]
    flat = images.flatten(-2)
    places = places.reshape(len(places), *[1] * (flat.dim() - 2), -1).expand_as(flat)
    return flat.gather(-1, places).reshape(images.shape)


@cache
def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Which pixel comes to each place, (8, H W); the identity for turns that change the shape."""
    grid = torch.arange(height * width).reshape(height, width)
    turned = (dihedral(grid, element) for element in ELEMENTS)
    rows = [t if t.shape == grid.shape else grid for t in turned]
    return torch.stack([row.flatten() for row in rows]).to(device)


def _keeping(images: Tensor) -> list[int]:
    """The symmetries of the last two axes that keep the shape; of a batch of vectors none."""
    if images.dim() < 4:
        return [0]
    square = images.shape[-1] == images.shape[-2]
    return [element for element in ELEMENTS if square or element % 2 == 0]
