"""The images of a study: a photograph and a phantom, or the user's own, reduced to its size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import InputError
from equipoise.problems.datasplit import centre_crop
from equipoise.problems.pose import images_of
from equipoise.study.settings import StudySettings

#: How many ground truths a study has.
TRUTHS = 2
#: How many further images there are to fit an alpha on.
LEARNING = 4


@dataclass(frozen=True, eq=False)
class StudyImages:
    """Images of one size, float64, values in [0, 1].

    Args:
        test: ground truths, shape (N, C, H, W).
        names: what they are called.
        learning: other images, shape (M, C, H, W).
        notes: plain sentences about what is odd about the files.
    """

    test: Tensor
    names: tuple[str, ...]
    learning: Tensor
    notes: tuple[str, ...] = ()


def study_images(settings: StudySettings, *, colour: bool = False) -> StudyImages:
    """A photograph and a phantom, or the first two of a folder; means over blocks of pixels.

    Args:
        settings: folder and size.
        colour: three channels instead of one.

    Raises:
        InputError: if an image is smaller than the study's size.
    """
    data_range = None if settings.task is None else settings.task.range
    split = images_of(settings.data, colour=colour, data_range=data_range)
    test = {name: _reduced(image, settings.size) for name, image in split.test.items()}
    if settings.data is None:
        photograph = test["camera"]
        test = {"camera": photograph, "phantom": _phantom(settings.size).expand_as(photograph)}
    chosen = list(test.items())[:TRUTHS]
    others = [_reduced(image, settings.size) for image in [*split.val, *split.train][:LEARNING]]
    return StudyImages(
        test=torch.stack([image for _, image in chosen]),
        names=tuple(name for name, _ in chosen),
        learning=torch.stack(others),
        notes=split.notes,
    )


def _reduced(image: Tensor, size: int) -> Tensor:
    """The central square, reduced by means to ``size`` pixels a side."""
    side = min(image.shape[-2:])
    if side < size:
        raise InputError(
            f"An image of {image.shape[-2]} x {image.shape[-1]} pixels is smaller than the study's "
            f"{size}: lower --size or give larger images."
        )
    square = centre_crop(image.double(), side)
    return F.adaptive_avg_pool2d(square, size)


def _phantom(size: int) -> Tensor:
    from skimage.data import shepp_logan_phantom

    whole = torch.as_tensor(shepp_logan_phantom(), dtype=torch.float64)[None]
    return F.adaptive_avg_pool2d(whole, size)
