"""An image in memory: numbers for computing, and what is needed to write it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.settings.data_range import DataRange

#: A tag of a TIFF: code, type, count, value.
Tag = tuple[int, int, int, Any]
#: Luminance weights of linear R, G, B (ITU-R BT.709), as scikit-image uses them.
LUMINANCE = (0.2125, 0.7154, 0.0721)


class Depth(StrEnum):
    """Number type of an image file."""

    UINT8 = "uint8"
    INT8 = "int8"
    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT64 = "uint64"
    INT64 = "int64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def maximum(self) -> int | None:
        """What a file stores for 1, of integers of up to 16 bits; None where numbers are kept."""
        return {"uint8": 255, "int8": 127, "uint16": 65535, "int16": 32767}.get(self.value)

    @property
    def integer(self) -> bool:
        """Whether numbers must be rounded to be written."""
        return not self.value.startswith("float")

    @property
    def precision(self) -> torch.dtype:
        """The floating-point type that holds the numbers: float64 for those of 32 bits and more."""
        exact = ("float64", "uint32", "int32", "uint64", "int64")
        return torch.float64 if self.value in exact else torch.float32


@dataclass(frozen=True)
class Resolution:
    """How many pixels a length has.

    Args:
        x: pixels in ``unit`` along a row, positive.
        y: pixels in ``unit`` along a column, positive.
        unit: ``"inch"``, ``"centimeter"``, or ``"none"`` where only the ratio of x and y counts.
    """

    x: float
    y: float
    unit: str = "inch"

    def per_metre(self) -> tuple[int, int] | None:
        """Pixels in a metre as PNG stores them; None without a unit."""
        metre = {"inch": 1 / 0.0254, "centimeter": 100.0}.get(self.unit)
        if metre is None or not min(self.x, self.y) * metre >= 0.5:
            return None
        pair = round(self.x * metre), round(self.y * metre)
        return pair if max(pair) < 2**31 else None


@dataclass(frozen=True, eq=False)
class Image:
    """An image, and what else its file says.

    Args:
        pixels: shape (C, H, W), float32 (float64 for files of float64 and of integers of 32 bits
            and more). Integers of up to 16 bits are divided by their maximum, so that unsigned
            ones lie in [0, 1]; wider integers and floating-point numbers are kept as they are.
        alpha: opacity of shape (1, H, W), scaled in the same way, or None.
        depth: number type of the file.
        axes: order of axes in a NumPy file, ``"HW"``, ``"HWC"``, ``"CHW"``, or ``"complex"`` where
            the two channels are real and imaginary part.
        white: what the file stores for 1 where its number type does not say: 4095 for 12 bits.
        extra: what a TIFF says of samples beyond gray or colour (ExtraSamples): 0 is a band,
            1 associated alpha, 2 unassociated alpha.
        resolution: pixels in a length, or None.
        profile: ICC colour profile, or None.
        place: tags of a GeoTIFF that say where the image lies.
        missing: shape (1, H, W), True where the file has NaN, in which place ``pixels`` has 0;
            None if that was not asked for, or no pixel is missing.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    depth: Depth = Depth.UINT8
    axes: str = "HW"
    white: int | None = None
    extra: tuple[int, ...] = ()
    resolution: Resolution | None = None
    profile: bytes | None = None
    place: tuple[Tag, ...] = ()
    missing: Tensor | None = None

    @property
    def is_colour(self) -> bool:
        """Whether the channels are red, green and blue: three, and not called bands."""
        return len(self.pixels) == 3 and 0 not in self.extra

    @property
    def stored_white(self) -> int:
        """What the file stores for a pixel of 1."""
        return self.white or self.depth.maximum or 1

    def range(self, chosen: DataRange | None = None) -> DataRange:
        """What is black and white: as chosen, or 0 and what the file stores for 1."""
        return chosen or DataRange(0.0, float(self.stored_white))

    @property
    def numbers(self) -> Tensor:
        """The pixels as the file stores them, float64."""
        return self.pixels.double() * self.stored_white

    def unit_pixels(self, chosen: DataRange | None = None) -> Tensor:
        """The pixels on the scale from black, 0, to white, 1, see :meth:`range`."""
        return self.range(chosen).to_unit(self.numbers).to(self.pixels.dtype)

    def with_numbers(self, numbers: Tensor) -> Image:
        """The image with other pixels, given as the file shall store them, see with_pixels."""
        return self.with_pixels((numbers / self.stored_white).to(self.pixels.dtype))

    def with_pixels(self, pixels: Tensor) -> Image:
        """The same kind of file with other pixels (C, H, W).

        Alpha, resolution and place are kept where the size is the same: they are not known of
        others.
        """
        if pixels.shape[1:] == self.pixels.shape[1:]:
            return replace(self, pixels=pixels)
        extra = tuple(kind for kind in self.extra if kind == 0)
        unknown: dict[str, Any] = {"alpha": None, "resolution": None, "missing": None, "place": ()}
        return replace(self, pixels=pixels, extra=extra, **unknown)


def to_gray(pixels: Tensor) -> Tensor:
    """Turn colour into gray: ``0.2125 R + 0.7154 G + 0.0721 B``; gray images stay as they are.

    Args:
        pixels: shape (C, H, W) with C = 1 or 3.

    Returns:
        Tensor of shape (1, H, W).

    Raises:
        InputError: for other numbers of channels.
    """
    if len(pixels) == 1:
        return pixels
    _require_colour(pixels)
    weights = torch.tensor(LUMINANCE, dtype=pixels.dtype, device=pixels.device)
    return torch.tensordot(weights, pixels, dims=1)[None]


def to_colour(pixels: Tensor) -> Tensor:
    """Turn gray into colour by repeating it three times; colour images stay as they are.

    Args:
        pixels: shape (C, H, W) with C = 1 or 3.

    Returns:
        Tensor of shape (3, H, W).

    Raises:
        InputError: for other numbers of channels.
    """
    if len(pixels) == 1:
        return pixels.repeat(3, 1, 1)
    _require_colour(pixels)
    return pixels


def _require_colour(pixels: Tensor) -> None:
    if pixels.dim() != 3 or len(pixels) != 3:
        raise InputError(
            f"Expected a gray or colour image (1 or 3 channels first), got {tuple(pixels.shape)}."
        )
