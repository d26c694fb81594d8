"""An image in memory: numbers for computing, and what is needed to write it back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from equipoise.errors import InputError

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
    """

    pixels: Tensor
    alpha: Tensor | None = None
    depth: Depth = Depth.UINT8
    axes: str = "HW"


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
