"""Masks of known pixels (1 known, 0 missing): random pixels, random rows, the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.decoding import decoding
from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.images import is_image_file, read_image
from equipoise.problems.mask_pictures import known_pixels

#: Word for the mask that a measured file itself says: NaN is missing.
NAN = "nan"


class Mask(Protocol):
    """A rule that draws a mask for any image size."""

    @property
    def description(self) -> str:
        """What is known, for example "a random 50 % of the pixels are known"."""
        ...

    def draw(self, size: tuple[int, ...], shrink: bool) -> Tensor:
        """The mask, float64 zeros and ones of shape ``size``, the same at each call.

        Args:
            size: spatial shape of the image.
            shrink: whether a smaller part of a fixed mask may be cut out.
        """
        ...


@dataclass(frozen=True)
class RandomPixels:
    """Know a random share of the pixels (exactly, up to rounding).

    Args:
        fraction: share of known pixels, in (0, 1].
        seed: seed of the draw.
    """

    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)

    @property
    def description(self) -> str:
        """One clause."""
        return f"a random {100 * self.fraction:g} % of the pixels are known"

    def draw(self, size: tuple[int, ...], shrink: bool) -> Tensor:
        """Draw for an image of spatial shape ``size``."""
        return _random_choice(size, self.fraction, self.seed)


@dataclass(frozen=True)
class RandomRows:
    """Know a random share of the image rows.

    Args:
        fraction: share of known rows, in (0, 1].
        seed: seed of the draw.
    """

    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)

    @property
    def description(self) -> str:
        """One clause."""
        return f"a random {100 * self.fraction:g} % of the rows are known"

    def draw(self, size: tuple[int, ...], shrink: bool) -> Tensor:
        """Draw for an image of spatial shape ``size``; rows are the first spatial axis."""
        rows = _random_choice(size[:1], self.fraction, self.seed)
        return rows.reshape(-1, *([1] * (len(size) - 1))).expand(size).clone()


@dataclass(frozen=True, eq=False)
class FixedMask:
    """Know the pixels that the user says.

    Args:
        values: zeros and ones, spatial shape of the image.
        origin: where it comes from, to follow "known is what".

    Raises:
        InputError: if there are other values than 0 and 1, or no pixel is known.
    """

    values: Tensor
    origin: str = "the given mask"

    def __post_init__(self) -> None:
        if self.values.numel() == 0 or not bool(((self.values == 0) | (self.values == 1)).all()):
            raise InputError("A mask consists of zeros (missing) and ones (known) only.")
        if not bool(self.values.any()):
            raise InputError("The mask knows no pixel; 1 or white means known.")

    @property
    def description(self) -> str:
        """One clause."""
        share = 100 * float(self.values.to(torch.float64).mean())
        return f"{share:.4g} % of the pixels are known, by {self.origin}"

    def draw(self, size: tuple[int, ...], shrink: bool) -> Tensor:
        """The mask itself, or for smaller images the part whose share is nearest to the whole's.

        Raises:
            InputError: if the sizes differ and no smaller part is allowed or exists.
        """
        values = self.values.detach().to("cpu", torch.float64)
        have = tuple(values.shape)
        if have == size:
            return values
        fits = len(have) == len(size) == 2 and all(s <= h for s, h in zip(size, have, strict=True))
        if not (shrink and fits):
            raise InputError(
                f"The mask has size {_times(have)}, the image {_times(size)}: "
                "they must agree (for training, patches may be smaller than the mask)."
            )
        shares = F.avg_pool2d(values[None], size, stride=1)[0]
        best = int((shares - values.mean()).abs().argmin())
        top, left = divmod(best, shares.shape[1])
        return values[top : top + size[0], left : left + size[1]].clone()


def mask_from_text(text: str, seed: int = 0) -> Mask:
    """Make the mask that a command line names.

    ``"0.5"`` (share of known pixels), ``"rows:0.5"`` (share of known rows), or the path of an
    image whose white pixels are known (:func:`~equipoise.problems.mask_pictures.known_pixels`).

    Raises:
        UnknownNameError: for another name before the colon.
        UsageError: if the share is unreadable.
        InputError: if the share is out of (0, 1], or the file is missing, unusable, or not clearly
            a mask.
    """
    if is_mask_file(text):
        name = Path(text).name
        with decoding(text, "mask"):
            picture = read_image(text, missing=True)  # what a mask has not is not known: 0
            return FixedMask(known_pixels(picture, name), f"the mask '{name}'")
    return named_mask(text, seed)


@dataclass(frozen=True)
class MaskFolder:
    """A mask for each of several images: the one picture in a folder that has the image's name.

    Args:
        folder: where they are; endings may differ from those of the images.
    """

    folder: Path

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        return f"the masks of the folder '{self.folder.name}'"

    def mask_of(self, image: Path) -> Mask:
        """Read the mask of an image.

        Raises:
            InputError: if there is none or more than one, or it is not clearly a mask.
        """
        files = sorted(file for file in self.folder.iterdir() if is_image_file(file))
        found = [file for file in files if file.stem == image.stem]
        if len(found) != 1:
            raise InputError(
                f"'{self.folder}' has {len(found)} masks named '{image.stem}' for '{image}': there "
                "must be one for each image, of the same name."
            )
        return mask_from_text(str(found[0]))


def mask_of_nan(missing: Tensor | None, name: str) -> FixedMask:
    """Make the mask of a file whose NaN are missing pixels.

    Args:
        missing: :attr:`equipoise.images.Image.missing`, shape (1, H, W), or None.
        name: of the file.

    Raises:
        InputError: if no pixel is missing.
    """
    if missing is None:
        raise InputError(f"'{name}' has no NaN, so that --mask nan leaves nothing to inpaint.")
    return FixedMask((~missing[0]).to(torch.float64), f"the NaN of '{name}'")


def is_mask_file(text: str) -> bool:
    """Whether a command line means a file by that text, and no share."""
    return _share(text) is None and (":" not in text or Path(text).exists())


def named_mask(text: str, seed: int = 0) -> Mask:
    """Make the mask of ``"0.5"`` or ``"rows:0.5"``; open no file.

    Raises:
        UnknownNameError: for another name before the colon.
        UsageError: if the share is unreadable, or the text means the NaN of a measured file.
        InputError: if the share is out of (0, 1].
    """
    if text == NAN:
        raise UsageError("The mask 'nan' is the NaN of measured files, for reconstruct only.")
    share = _share(text)
    if share is not None:
        return RandomPixels(share, seed)
    name, _, rest = text.partition(":")
    if name != "rows":
        raise UnknownNameError("mask", name, ["rows"])
    share = _share(rest)
    if share is None:
        raise UsageError(
            f"Cannot read the mask '{text}': write a share such as 0.5, rows:0.5, or the path of "
            "an image."
        )
    return RandomRows(share, seed)


def _share(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise InputError(f"The share of known pixels must be in (0, 1], got {fraction}.")


def _random_choice(size: tuple[int, ...], fraction: float, seed: int) -> Tensor:
    count = 1
    for n in size:
        count *= n
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(count, generator=generator)[: max(1, round(fraction * count))]
    mask = torch.zeros(count, dtype=torch.float64)
    mask[chosen] = 1.0
    return mask.reshape(size)


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)
