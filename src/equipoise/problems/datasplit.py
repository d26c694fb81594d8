"""Images for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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
        names: of the training and of the validation images, where they have any, for messages.
    """

    name: str
    train: list[Tensor]
    val: list[Tensor]
    test: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

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

    def usable(self, patch: int, validation_crop: int, scored: int | None = None) -> DataSplit:
        """The images that can be learned from and scored; the notes name those left out.

        Left out are training images smaller than a patch, validation images with a side of less
        than half of what is cut from the others (one small image would make all crops small), and
        test images smaller than ``scored`` or of one colour.

        Args:
            patch: side of a training patch.
            validation_crop: side that is cut from validation images where they have it.
            scored: smallest side of a test image; None: test images are not looked at.

        Raises:
            InputError: if none of a kind is left.
        """
        train, val = _named(self.train, self.names[0]), _named(self.val, self.names[1])
        median = sorted(map(_side, self.val))[len(self.val) // 2]
        least = min(validation_crop, median) / 2
        notes = list(self.notes)

        def kept(
            kind: str, images: dict[str, Tensor], bad: Callable[[Tensor], bool], why: str
        ) -> dict[str, Tensor]:
            lost = [name for name, image in images.items() if bad(image)]
            listed = ", ".join(lost[:3]) + (" and others" if len(lost) > 3 else "")
            if len(lost) == len(images):
                raise InputError(f"No {kind} image of '{self.name}' can be used; {listed}: {why}.")
            if lost:
                notes.append(f"Left out, {len(lost)} {kind} image(s); {listed}: {why}.")
            return {name: image for name, image in images.items() if name not in lost}

        train = kept(
            "training", train, lambda x: _side(x) < patch, f"smaller than a patch, {patch} pixels"
        )
        val = kept(
            "validation", val, lambda x: _side(x) < least, f"a side of less than {least:g} pixels"
        )
        test = self.test
        if scored is not None:
            test = kept(
                "test",
                test,
                lambda x: _side(x) < scored or bool((x == x.flatten()[0]).all()),
                f"of one colour, or a side of less than {scored} pixels",
            )
        side = min(map(_side, val.values()))
        if side < validation_crop:
            notes.append(f"Validation images are cut to {side} pixels, the side of the smallest.")
        return replace(
            self,
            train=list(train.values()),
            val=list(val.values()),
            test=test,
            notes=tuple(notes),
            names=(tuple(train), tuple(val)),
        )

    @property
    def values(self) -> tuple[float, float]:
        """Between which numbers nearly all pixels of the training images lie."""
        return values_of(torch.cat([image.flatten() for image in self.train]))


def _side(image: Tensor) -> int:
    return min(image.shape[-2:])


def _named(images: list[Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    return dict(zip(names or [f"number {k + 1}" for k in range(len(images))], images, strict=True))


def centre_crop(image: Tensor, size: int) -> Tensor:
    """Cut the central square, or as much of it as there is.

    Args:
        image: shape (C, H, W).
        size: side in pixels.
    """
    h, w = image.shape[-2:]
    top, left = max(0, (h - size) // 2), max(0, (w - size) // 2)
    return image[..., top : top + size, left : left + size].contiguous()
