"""An image in memory: numbers for computing, and what is needed to write it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.settings.data_range import DataRange

#: Luminance weights of linear R, G, B (ITU-R BT.709), as scikit-image uses them.
LUMINANCE = (0.2125, 0.7154, 0.0721)


class Depth(StrEnum):
    """Number type of an image file."""

    UINT8 = "uint8"
    UINT16 = "uint16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def maximum(self) -> int | None:
        """What an integer file stores for 1; None for floating-point files."""
        return {"uint8": 255, "uint16": 65535}.get(self.value)


@dataclass(frozen=True, eq=False)
class Image:
    """An image with its file's depth.

    Args:
        pixels: shape (C, H, W), float32 (float64 for float64 files). Integer files are divided by
            their type's maximum, so they lie in [0, 1]; floating-point files are kept as they are.
        alpha: opacity of shape (1, H, W), scaled in the same way, or None.
        depth: number type of the file.
        axes: order of axes in a NumPy file, ``"HW"``, ``"HWC"`` or ``"CHW"``.
        data_range: what the file says of black and white, in its numbers; None if nothing.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    depth: Depth = Depth.UINT8
    axes: str = "HW"
    data_range: DataRange | None = None

    def range(self, chosen: DataRange | None = None) -> DataRange:
        """What is black and white: as chosen, as the file says, or 0 and what it stores for 1."""
        return chosen or self.data_range or DataRange(0.0, float(self.depth.maximum or 1))

    @property
    def numbers(self) -> Tensor:
        """The pixels as the file stores them, float64."""
        return self.pixels.double() * (self.depth.maximum or 1)

    def unit_pixels(self, chosen: DataRange | None = None) -> Tensor:
        """The pixels on the scale from black, 0, to white, 1, see :meth:`range`."""
        return self.range(chosen).to_unit(self.numbers).to(self.pixels.dtype)

    def with_numbers(self, numbers: Tensor) -> Image:
        """The image with other pixels, given as the file shall store them."""
        pixels = numbers / (self.depth.maximum or 1)
        return replace(self, pixels=pixels.to(self.pixels.dtype))


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
