"""Read PNG, JPEG, TIFF and NumPy files."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.errors import InputError
from equipoise.images.image import Depth, Image

Pixels = NDArray[Any]

#: File name endings that :func:`read_image` understands.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
#: What decoders raise on broken files; errors of imagecodecs are RuntimeErrors.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)
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
class _Decoded:
    """Numbers of shape (H, W, C) as the file stores them, upright."""

    values: Pixels
    has_alpha: bool = False
    axes: str = "HW"


def is_image_file(path: Path) -> bool:
    """Whether the name ends like an image's and is no hidden file."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_image(path: str | Path) -> Image:
    """Read an image file: PNG, JPEG, TIFF or NPY, 8 or 16 bit or floating point, gray or colour.

    Integers are divided by their type's maximum; floating-point numbers are kept. Palettes are
    expanded to colour, an EXIF orientation is applied, alpha comes apart from the colours.

    Args:
        path: the file; its ending says the format. NumPy arrays are (H, W), (H, W, 3) or
            (C, H, W) with C up to 3.

    Returns:
        The :class:`Image`.

    Raises:
        InputError: if the file is missing, empty, truncated, of an unsupported kind (CMYK,
            several pages), or has values that are NaN or infinite.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"'{file}' is not a supported image file: expected one of {', '.join(SUFFIXES)}."
        )
    if not file.is_file():
        raise InputError(f"There is no image file '{file}'.")
    if file.stat().st_size == 0:
        raise InputError(f"The image file '{file}' is empty.")
    try:
        decoded = _decode(file)
    except InputError:
        raise
    except (*BROKEN, PIL.Image.DecompressionBombError) as error:
        raise InputError(
            f"The image file '{file}' cannot be read (truncated, damaged or unusual): {error}"
        ) from error
    return _scale(file, decoded)


def _decode(file: Path) -> _Decoded:
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return _decode_npy(file)
    if suffix in (".tif", ".tiff"):
        return _decode_tiff(file)
    if suffix == ".png" and _is_deep_colour(file):
        return _decode_deep_png(file)
    return _decode_pillow(file)


def _decode_pillow(file: Path) -> _Decoded:
    with PIL.Image.open(file) as opened:
        opened.load()
        if getattr(opened, "n_frames", 1) > 1:
            raise InputError(f"'{file}' holds several pages; give one image a file.")
        image: PIL.Image.Image = opened
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        elif image.mode in ("1", "L", "RGB") and "transparency" in image.info:
            image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
        elif image.mode == "1":
            image = image.convert("L")
        if image.mode not in ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "F"):
            raise InputError(
                f"'{file}' has colour mode {image.mode}, which is not supported: "
                "convert it to gray or RGB first."
            )
        values = np.asarray(image)
        has_alpha = image.mode in ("LA", "RGBA")
    values = values.astype(values.dtype.newbyteorder("="))
    return _Decoded(_upright(_with_channels(values), orientation), has_alpha)


def _is_deep_colour(file: Path) -> bool:
    """Whether a PNG has several channels of 16 bits, which Pillow would reduce to 8 bits."""
    with file.open("rb") as stream:
        head = stream.read(26)
    return len(head) == 26 and head[12:16] == b"IHDR" and head[24] == 16 and head[25] != 0


def _decode_deep_png(file: Path) -> _Decoded:
    import imagecodecs  # large, and needed for no other file

    with PIL.Image.open(file) as image:  # refuses sizes that would fill the memory
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    values = imagecodecs.png_decode(file.read_bytes())
    return _Decoded(_upright(values, orientation), values.shape[2] in (2, 4))


def _decode_tiff(file: Path) -> _Decoded:
    import tifffile  # half of the time that importing this package would take

    with tifffile.TiffFile(file) as tiff:
        if len(tiff.pages) != 1:
            raise InputError(f"'{file}' holds {len(tiff.pages)} pages; give one image a file.")
        page = tiff.pages[0]
        photometric = page.photometric.name
        if photometric not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE"):
            raise InputError(
                f"'{file}' has colour mode {photometric}, which is not supported: "
                "convert it to gray or RGB first."
            )
        values = page.asarray()
        if page.axes == "SYX":
            values = values.transpose(1, 2, 0)
        elif page.axes not in ("YX", "YXS"):
            raise InputError(f"'{file}' has axes {page.axes}; expected a single 2-D image.")
        values = _with_channels(values)
        if photometric == "PALETTE":  # colours are 16 bits wide of which writers fill the high byte
            values = (page.colormap.T[values[:, :, 0]] >> 8).astype(np.uint8)
        if photometric == "MINISWHITE" and values.dtype.kind == "u":
            values = np.iinfo(values.dtype).max - values
        orientation = page.tags.valueof(ORIENTATION_TAG, default=1)
        has_alpha = len(page.extrasamples) == 1
    return _Decoded(_upright(values, int(orientation)), has_alpha)


def _decode_npy(file: Path) -> _Decoded:
    values = np.load(file, allow_pickle=False)
    if not isinstance(values, np.ndarray):
        raise InputError(f"'{file}' holds no NumPy array.")
    if values.ndim == 2:
        return _Decoded(values[:, :, None])
    if values.ndim == 3 and values.shape[2] in (1, 3):
        return _Decoded(values, axes="HWC")
    if values.ndim == 3 and values.shape[0] in (1, 2, 3):
        return _Decoded(values.transpose(1, 2, 0), axes="CHW")
    raise InputError(
        f"'{file}' has shape {values.shape}; expected (H, W), (H, W, 3) or (C, H, W) with C <= 3."
    )


def _with_channels(values: Pixels) -> Pixels:
    return values[:, :, None] if values.ndim == 2 else values


def _upright(values: Pixels, orientation: int) -> Pixels:
    transpose, rows, columns = ORIENTATIONS.get(orientation, (False, False, False))
    if transpose:
        values = values.transpose(1, 0, 2)
    return values[:: -1 if rows else 1, :: -1 if columns else 1]


def _scale(file: Path, decoded: _Decoded) -> Image:
    values = decoded.values
    if values.size == 0:
        raise InputError(f"'{file}' holds an image without pixels.")
    if values.dtype.name not in list(Depth):
        raise InputError(
            f"'{file}' holds numbers of type {values.dtype.name}, which is not supported: "
            f"expected one of {', '.join(Depth)}."
        )
    depth = Depth(values.dtype.name)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise InputError(f"'{file}' has {bad} values that are NaN or infinite.")
    dtype = torch.float64 if depth is Depth.FLOAT64 else torch.float32
    ordered = np.ascontiguousarray(values.transpose(2, 0, 1).astype(np.float64))
    planes = torch.from_numpy(ordered / (depth.maximum or 1)).to(dtype)
    pixels, alpha = _split_alpha(planes, decoded.has_alpha)
    if len(pixels) not in (1, 3) and decoded.axes != "CHW":
        raise InputError(f"'{file}' has {len(pixels)} channels; expected gray or RGB.")
    return Image(pixels, alpha, depth, decoded.axes)


def _split_alpha(planes: Tensor, has_alpha: bool) -> tuple[Tensor, Tensor | None]:
    return (planes[:-1].clone(), planes[-1:].clone()) if has_alpha else (planes, None)
