"""What a decoder hands over, and how large a file may say that it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from equipoise.errors import InputError
from equipoise.images.image import Resolution, Tag

Pixels = NDArray[Any]

#: Most numbers of an image; 8 GiB where they are float64.
MOST_NUMBERS = 2**30
#: Most numbers for one byte of a file. Compression of images of one colour reaches 1,000 to 3,000
#: (Deflate, LZW); what declares more is damaged, or made to fill the memory.
MOST_FOR_A_BYTE = 2**15
#: Largest integer up to which float64 holds every one.
EXACT = 2**53
#: EXIF orientation -> (transpose, flip rows, flip columns) that makes the image upright.
ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
ORIENTATION_TAG = 274


@dataclass(frozen=True)
class Decoded:
    """Numbers as a file stores them, upright, and what it says of them.

    Args:
        values: shape (H, W, C).
        alpha: which channel is opacity, or None.
        axes: order of axes in a NumPy file.
        white: what is stored for 1; None is the number type's own.
        extra: ExtraSamples of a TIFF.
        resolution: pixels in a length, or None.
        profile: ICC colour profile, or None.
        place: tags of a GeoTIFF that say where the image lies.
        lost: shape (H, W, C), where numbers stand for missing ones beside NaN, or None.
    """

    values: Pixels
    alpha: int | None = None
    axes: str = "HW"
    white: int | None = None
    extra: tuple[int, ...] = ()
    resolution: Resolution | None = None
    profile: bytes | None = None
    place: tuple[Tag, ...] = ()
    lost: Pixels | None = None


def check_size(file: Path, shape: Iterable[int]) -> None:
    """Refuse a declared size before memory is taken for it.

    Args:
        file: what declares it.
        shape: of the numbers.

    Raises:
        InputError: if there are more than :data:`MOST_NUMBERS`, or more than the file's length can
            stand for.
    """
    sizes = tuple(shape)
    numbers = math.prod(sizes)
    words = " x ".join(str(size) for size in sizes)
    if numbers > MOST_FOR_A_BYTE * file.stat().st_size:
        raise InputError(
            f"'{file}' says that it holds {words} numbers, which cannot be in "
            f"{file.stat().st_size} bytes: it is truncated or damaged."
        )
    if numbers > MOST_NUMBERS:
        raise InputError(
            f"'{file}' holds {words} numbers, more than the {MOST_NUMBERS:,} that are read at "
            "once: cut it into parts."
        )


def with_channels(values: Pixels) -> Pixels:
    """Pixels of shape (H, W, C)."""
    return values[:, :, None] if values.ndim == 2 else values


def upright(values: Pixels, orientation: int) -> Pixels:
    """Pixels (H, W, C) turned as an EXIF orientation says."""
    transpose, rows, columns = ORIENTATIONS.get(orientation, (False, False, False))
    if transpose:
        values = values.transpose(1, 0, 2)
    return values[:: -1 if rows else 1, :: -1 if columns else 1]


def turned(resolution: Resolution | None, orientation: int) -> Resolution | None:
    """The resolution of an image that was made upright."""
    if resolution is None or not ORIENTATIONS.get(orientation, (False,))[0]:
        return resolution
    return Resolution(resolution.y, resolution.x, resolution.unit)
