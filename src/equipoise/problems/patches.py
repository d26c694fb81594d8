"""Draw training patches with flips and rotations."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.errors import InputError


def sample_patches(
    images: list[Tensor],
    *,
    count: int,
    size: int,
    generator: torch.Generator,
    augment: bool = True,
) -> Tensor:
    """Draw square patches at random, every position of every image equally likely.

    Args:
        images: tensors (C, H, W) with the same C and dtype, each side at least ``size``.
        count: number of patches N, positive.
        size: side in pixels, positive.
        generator: a CPU generator; the same state gives the same patches.
        augment: whether to turn each patch by a random symmetry of the square.

    Returns:
        Tensor of shape (N, C, size, size).

    Raises:
        InputError: if there is no image, one is smaller than a patch, or channels differ.
    """
    if not images:
        raise InputError("There are no images to draw patches from.")
    if count < 1 or size < 1:
        raise InputError(f"Number and size of patches must be positive, got {count} and {size}.")
    if len({(len(image), image.dtype) for image in images}) > 1:
        raise InputError("Images to draw patches from must agree in channels and dtype.")
    positions = []
    for number, image in enumerate(images):
        rows, columns = (side - size + 1 for side in image.shape[1:])
        if rows < 1 or columns < 1:
            raise InputError(
                f"Training image {number} of size {image.shape[1]} x {image.shape[2]} is smaller "
                f"than a patch ({size} x {size}): use smaller patches or larger images."
            )
        positions.append(rows * columns)
    weights = torch.tensor(positions, dtype=torch.float64)
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    places = torch.rand(count, generator=generator, dtype=torch.float64)
    turns = torch.randint(8, (count,), generator=generator)
    patches = []
    for which, place, turn in zip(chosen.tolist(), places.tolist(), turns.tolist(), strict=True):
        image = images[which]
        top, left = divmod(int(place * positions[which]), image.shape[2] - size + 1)
        patch = image[:, top : top + size, left : left + size]
        patches.append(dihedral(patch, turn) if augment else patch)
    return torch.stack(patches)


def dihedral(image: Tensor, element: int) -> Tensor:
    """Apply one of the eight symmetries of the square to the last two axes.

    Args:
        image: shape (..., H, W).
        element: 0 to 7; the lower two bits count quarter turns, the third one adds a flip.
    """
    turned = torch.rot90(image, element % 4, dims=(-2, -1))
    return turned.flip(-1) if element >= 4 else turned
