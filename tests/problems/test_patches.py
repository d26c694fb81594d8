"""Training patches: exact copies, determinism, symmetries, fair positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from equipoise.errors import InputError
from equipoise.problems import dihedral, sample_patches


def numbered(h: int, w: int, offset: float = 0.0) -> torch.Tensor:
    return offset + torch.arange(h * w, dtype=torch.float64).reshape(1, h, w)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_patches_are_cut_from_the_images():
    images = [numbered(9, 11), numbered(7, 6, offset=1000)]
    patches = sample_patches(images, count=60, size=4, generator=seeded(), augment=False)
    assert patches.shape == (60, 1, 4, 4)
    for patch in patches:
        image = images[int(patch[0, 0, 0] >= 1000)]
        row, column = (int(n) for n in (image[0] == patch[0, 0, 0]).nonzero()[0])
        assert torch.equal(patch, image[:, row : row + 4, column : column + 4])


def test_every_position_of_every_image_is_equally_likely():
    images = [numbered(4, 5), numbered(3, 3, offset=100)]  # 2 * 3 and 1 * 1 positions
    patches = sample_patches(images, count=7000, size=3, generator=seeded(), augment=False)
    corners, counts = np.unique(patches[:, 0, 0, 0].numpy(), return_counts=True)
    assert corners.tolist() == [0, 1, 2, 5, 6, 7, 100]
    assert counts.min() > 850  # five standard deviations below 1000
    assert counts.max() < 1150


def test_augmentation_uses_all_eight_symmetries():
    image = numbered(3, 3)
    patches = sample_patches([image], count=200, size=3, generator=seeded())
    seen = {tuple(patch.flatten().tolist()) for patch in patches}
    expected = set()
    for k in range(4):
        turned = np.rot90(image[0].numpy(), k)
        expected |= {tuple(turned.flatten()), tuple(turned[:, ::-1].flatten())}
    assert seen == expected
    assert len(expected) == 8


def test_the_generator_decides():
    images = [numbered(20, 20)]
    first = sample_patches(images, count=10, size=5, generator=seeded(1))
    assert torch.equal(first, sample_patches(images, count=10, size=5, generator=seeded(1)))
    assert not torch.equal(first, sample_patches(images, count=10, size=5, generator=seeded(2)))


def test_symmetries_are_distinct_and_start_with_the_identity():
    image = numbered(3, 3)
    assert torch.equal(dihedral(image, 0), image)
    assert len({tuple(dihedral(image, k).flatten().tolist()) for k in range(8)}) == 8


@pytest.mark.parametrize(
    ("images", "count", "size", "words"),
    [
        ([], 1, 3, "no images"),
        ([numbered(8, 8), numbered(8, 4)], 1, 5, "Training image 1 of size 8 x 4 is smaller"),
        ([numbered(8, 8)], 0, 5, "must be positive"),
        ([numbered(8, 8)], 1, 0, "must be positive"),
        ([numbered(8, 8), numbered(8, 8).float()], 1, 5, "channels and dtype"),
        ([numbered(8, 8), numbered(8, 8).repeat(3, 1, 1)], 1, 5, "channels and dtype"),
    ],
)
def test_impossible_patches_are_refused(images, count, size, words):
    with pytest.raises(InputError, match=words):
        sample_patches(images, count=count, size=size, generator=seeded())
