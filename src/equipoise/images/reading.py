"""Read PNG, JPEG, TIFF, BMP, PGM, PPM and NumPy files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from torch import Tensor

from equipoise.decoding import decoding
from equipoise.errors import InputError
from equipoise.images.decoded import (
    EXACT,
    ORIENTATION_TAG,
    Decoded,
    check_size,
    turned,
    upright,
    with_channels,
)
from equipoise.images.image import Depth, Image, Resolution
from equipoise.images.netpbm import decode_netpbm
from equipoise.images.numpy_files import decode_npy
from equipoise.images.tiff import decode_tiff

#: File name endings that :func:`read_image` understands.
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy"),
    *(".bmp", ".pgm", ".ppm", ".pnm"),
)
#: First bytes of a file -> what reads it with Pillow. Its own ``open`` would try forty formats, and
#: limit the number of pixels by itself.
_PILLOW: dict[bytes, Callable[[Path], Any]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"BM": BmpImageFile,
    **dict.fromkeys((b"P1", b"P2", b"P3", b"P4"), PpmImageFile),
}


def is_image_file(path: Path) -> bool:
    """Whether the name ends like an image's and is no hidden file."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_image(path: str | Path, *, missing: bool = False) -> Image:
    """Read an image file: 8 to 64 bits, integer or floating point, gray, colour or bands.

    Integers of up to 16 bits are divided by what stands for 1 (their type's maximum, in TIFF
    and PGM that of their bits); wider integers and floating-point numbers are kept. Palettes
    are expanded to colour, truth values and fewer than 8 bits to 8, an EXIF orientation is applied,
    alpha comes apart from the colours.

    Args:
        path: the file; its ending says the format. NumPy arrays are (H, W), (H, W, 3), (C, H, W)
            with C up to 3 (up to 16 where the image is larger than that), or complex (H, W),
            which becomes two channels.
        missing: whether NaN marks missing pixels, which ``Image.missing`` then says; a pixel is
            missing if one of its channels is. Otherwise NaN is refused.

    Returns:
        The :class:`Image`.

    Raises:
        InputError: if the file is missing, empty, truncated, too large, of an unsupported kind
            (CMYK, several pages, partly transparent with associated alpha), or has values that are
            NaN or infinite.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"'{file}' is not a supported image file: expected one of {', '.join(SUFFIXES)}."
        )
    if not file.is_file():
        raise InputError(f"There is no image file '{file}'.")
    with decoding(file, "image file"):
        if file.stat().st_size == 0:
            raise InputError(f"The image file '{file}' is empty.")
        return _scale(file, _decode(file), missing)


def _decode(file: Path) -> Decoded:
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return decode_npy(file)
    if suffix in (".tif", ".tiff"):
        return decode_tiff(file)
    with file.open("rb") as stream:
        head = stream.read(26)
    if head[:2] in (b"P5", b"P6"):
        return decode_netpbm(file)
    for first, opening in _PILLOW.items():
        if head.startswith(first):
            return _decode_pillow(file, opening, deep=_is_deep_colour(head))
    raise InputError(
        f"'{file}' cannot be read: by its content it is no PNG, JPEG, BMP, PGM or PPM."
    )


def _decode_pillow(file: Path, opening: Callable[[Path], Any], deep: bool) -> Decoded:
    with opening(file) as opened:
        check_size(file, (opened.height, opened.width, len(opened.getbands())))
        if getattr(opened, "n_frames", 1) > 1:
            raise InputError(f"'{file}' holds several pages; give one image a file.")
        opened.load()
        image: PIL.Image.Image = opened
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        resolution, profile = _resolution(image), image.info.get("icc_profile")
        if deep:
            import imagecodecs  # large, and needed for no other file

            values = with_channels(imagecodecs.png_decode(file.read_bytes()))
            alpha = values.shape[2] in (2, 4)
        else:
            image = _plain(file, image)
            values = with_channels(np.asarray(image))
            alpha = image.mode in ("LA", "RGBA")
    return Decoded(
        upright(values, orientation),
        values.shape[2] - 1 if alpha else None,
        resolution=turned(resolution, orientation),
        profile=profile or None,
    )


def _plain(file: Path, image: PIL.Image.Image) -> PIL.Image.Image:
    """The image in a mode whose numbers are gray or colours."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        return image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "I" and image.format == "PPM":  # whose values Pillow has brought to 16 bits
        return image.convert("I;16")
    if image.mode not in ("L", "LA", "RGB", "RGBA", "I;16", "I;16B"):
        raise InputError(
            f"'{file}' has colour mode {image.mode}, which is not supported: "
            "convert it to gray or RGB first."
        )
    return image


def _is_deep_colour(head: bytes) -> bool:
    """Whether a PNG has several channels of 16 bits, which Pillow would reduce to 8 bits."""
    return len(head) == 26 and head[12:16] == b"IHDR" and head[24] == 16 and head[25] != 0


def _resolution(image: PIL.Image.Image) -> Resolution | None:
    dots = image.info.get("dpi")
    if not (isinstance(dots, tuple) and len(dots) == 2 and min(dots) > 0):
        return None
    return Resolution(float(dots[0]), float(dots[1]))


def _scale(file: Path, decoded: Decoded, missing: bool) -> Image:
    values = decoded.values
    if values.size == 0:
        raise InputError(f"'{file}' holds an image without pixels.")
    if values.dtype.kind == "b":
        values = values * np.uint8(255)
    if values.dtype.name not in list(Depth):
        raise InputError(
            f"'{file}' holds numbers of type {values.dtype.name}, which is not supported: "
            f"expected one of bool, {', '.join(Depth)}."
        )
    depth = Depth(values.dtype.name)
    if depth in (Depth.INT64, Depth.UINT64) and max(-int(values.min()), int(values.max())) > EXACT:
        raise InputError(
            f"'{file}' holds integers above 2^53, which no floating point has exactly."
        )
    unknown = _missing(file, decoded, missing)
    planes = torch.empty((values.shape[2], *values.shape[:2]), dtype=depth.precision)
    white = float(decoded.white or depth.maximum or 1)
    for k, plane in enumerate(planes):
        plane.copy_(torch.from_numpy(values[:, :, k].astype(np.float64) / white))
    if unknown is not None:
        planes.masked_fill_(unknown, 0.0)
    pixels, alpha = _split(planes, decoded.alpha)
    return Image(
        pixels,
        alpha,
        depth,
        decoded.axes,
        white=None if decoded.white == depth.maximum else decoded.white,
        extra=decoded.extra,
        resolution=decoded.resolution,
        profile=decoded.profile,
        place=decoded.place,
        missing=unknown,
    )


def _missing(file: Path, decoded: Decoded, allowed: bool) -> Tensor | None:
    """Which pixels are NaN or said to be missing, (1, H, W).

    Raises:
        InputError: if numbers are infinite, missing where that is not allowed, or all missing.
    """
    values, real = decoded.values, decoded.values.dtype.kind == "f"
    lost = np.isnan(values) if real else np.zeros(values.shape, bool)
    if decoded.lost is not None:
        lost = lost | decoded.lost
    infinite = int((np.isinf(values) & ~lost).sum()) if real else 0
    bad = infinite + (0 if allowed else int(lost.sum()))
    if bad:
        advice = (
            " Where NaN marks missing pixels, inpaint: equipoise reconstruct --task inpaint --mask "
            "nan, or read_image(file, missing=True)."
        )
        kind = "NaN or infinite" if decoded.lost is None else "NaN, infinite or missing by its tag"
        raise InputError(f"'{file}' has {bad} values that are {kind}.{advice * (bad > infinite)}")
    if lost.all():
        raise InputError(f"'{file}' has nothing but NaN.")
    unknown = torch.from_numpy(np.ascontiguousarray(lost)).any(dim=2)[None]
    return unknown if bool(unknown.any()) else None


def _split(planes: Tensor, alpha: int | None) -> tuple[Tensor, Tensor | None]:
    """Pixels, and the channel that is opacity."""
    if alpha is None:
        return planes, None
    others = [k for k in range(len(planes)) if k != alpha]
    return planes[others], planes[alpha : alpha + 1].clone()
