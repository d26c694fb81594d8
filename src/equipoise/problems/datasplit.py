"""Images for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.images.data_range import values_of


@dataclass(frozen=True, eq=False)
class DataSplit:
    """Three disjoint sets of images, all (C, H, W) with the same C and dtype.

    Args:
        name: what reports call the collection.
        train: images to learn from; sizes may differ.
        val: images on which settings are chosen.
        test: images on which results are reported, by name.
        notes: plain sentences about what is odd about them.
    """

    name: str
    train: list[Tensor]
    val: list[Tensor]
    test: dict[str, Tensor]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = {"training": self.train, "validation": self.val, "test": list(self.test.values())}
        for part, images in parts.items():
            if not images:
                raise InputError(f"'{self.name}' has no {part} image.")
        kinds = {(len(image), image.dtype) for images in parts.values() for image in images}
        if len(kinds) > 1:
            raise InputError(f"The images of '{self.name}' differ in channels or dtype.")

    @property
    def channels(self) -> int:
        """Number of channels of every image."""
        return len(self.train[0])

    @property
    def values(self) -> tuple[float, float]:
        """Between which numbers nearly all pixels of the training images lie."""
        return values_of(torch.cat([image.flatten() for image in self.train]))


def centre_crop(image: Tensor, size: int) -> Tensor:
    """Cut the central square, or as much of it as there is.

    Args:
        image: shape (C, H, W).
        size: side in pixels.
    """
    h, w = image.shape[-2:]
    top, left = max(0, (h - size) // 2), max(0, (w - size) // 2)
    return image[..., top : top + size, left : left + size].contiguous()
