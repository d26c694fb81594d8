"""TIFF as instruments write it: bands, alpha, 10 to 14 bits, resolution, colour profile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from equipoise.errors import InputError
from equipoise.images.decoded import (
    ORIENTATION_TAG,
    Decoded,
    Pixels,
    check_size,
    turned,
    upright,
    with_channels,
)
from equipoise.images.image import Image, Resolution, Tag

#: ExtraSamples of a TIFF: a sample that is a band, and the two kinds of alpha.
BAND, ASSOCIATED, UNASSOCIATED = 0, 1, 2
#: Samples of a pixel without extra ones.
_BASE = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3}
#: Where a GeoTIFF lies: pixel scale, tie points, transformation, keys and what they refer to, with
#: the number types of TIFF (12 is float64, 3 uint16, 2 text).
_PLACE = {33550: 12, 33922: 12, 34264: 12, 34735: 3, 34736: 12, 34737: 2}
#: What GDAL stores for pixels that are missing.
_NODATA = 42113
_UNITS = {1: "none", 2: "inch", 3: "centimeter"}
#: Centimetres in the units of length that ImageJ and OME name.
_CENTIMETRES = {
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "\\u00B5m"), 1e-4),
    **{"nm": 1e-7, "mm": 0.1, "cm": 1.0, "m": 100.0, "inch": 2.54},
}


def decode_tiff(file: Path) -> Decoded:
    """Read a TIFF of one page: gray, colour or palette, with any number of further bands."""
    import tifffile  # half of the time that importing this package would take

    with tifffile.TiffFile(file) as tiff:
        if len(tiff.pages) != 1:
            raise InputError(f"'{file}' holds {len(tiff.pages)} pages; give one image a file.")
        page = tiff.pages[0]
        photometric = page.photometric.name
        jpeg = page.compression in (6, 7)  # whose decoder turns luminance into colours
        if photometric not in _BASE or (photometric == "YCBCR" and not jpeg):
            raise InputError(
                f"'{file}' has colour mode {photometric}, which is not supported: "
                "convert it to gray or RGB first."
            )
        check_size(file, page.shape)
        check_size(file, (page.tilelength or 1, page.tilewidth or 1))
        values = page.asarray()
        if page.axes == "SYX":
            values = values.transpose(1, 2, 0)
        elif page.axes not in ("YX", "YXS"):
            raise InputError(f"'{file}' has axes {page.axes}; expected a single 2-D image.")
        values = with_channels(values)
        extra = _extra_samples(file, page, values.shape[2] - _BASE[photometric])
        lost = _lost(page, values, extra)
        values, white = _linear(file, page, values)
        orientation = int(page.tags.valueof(ORIENTATION_TAG, default=1))
        resolution = turned(_resolution(page), orientation)
        profile = page.iccprofile
        place = _place(page) if orientation == 1 else ()
    alpha = _alpha(extra, values.shape[2] - len(extra))
    _refuse_associated(file, values, alpha, extra, white)
    return Decoded(
        upright(values, orientation),
        alpha,
        white=white,
        extra=extra,
        resolution=resolution,
        profile=profile,
        place=place,
        lost=None if lost is None else upright(lost, orientation),
    )


def bits_of(image: Image) -> int | None:
    """How many bits a sample has in a TIFF of 16 bits; None for all, and for other whites."""
    bits = (image.white or 0).bit_length()
    return bits if image.depth == "uint16" and bits > 8 and image.white == 2**bits - 1 else None


def encode_tiff(file: BinaryIO, values: Pixels, image: Image) -> None:
    """Write pixels (H, W, C) with the samples, bits, resolution, profile and place of an image."""
    import tifffile  # as above

    extra = image.extra
    if image.alpha is not None and not any(extra):
        extra = (*extra, UNASSOCIATED)
    samples = values.shape[2]
    if samples - len(extra) not in (1, 3):  # other bands than the file that was read had
        kinds = (BAND,) * (samples - 1 - (image.alpha is not None))
        extra = (*kinds, UNASSOCIATED) if image.alpha is not None else kinds
    options: dict[str, Any] = {}
    if image.resolution is not None:
        options["resolution"] = (image.resolution.x, image.resolution.y)
        options["resolutionunit"] = image.resolution.unit
    plain = values if samples > 1 else values[:, :, 0]
    data: Pixels | Iterator[bytes] = plain
    bits = bits_of(image)
    if bits is not None:
        options |= {"shape": plain.shape, "dtype": values.dtype, "bitspersample": bits}
        options["rowsperstrip"] = len(values)
        data = iter([_packed(values, bits)])
    tifffile.imwrite(
        file,
        data,
        photometric="rgb" if samples - len(extra) == 3 else "minisblack",
        planarconfig="contig" if samples > 1 else None,
        extrasamples=extra or None,
        iccprofile=image.profile,
        extratags=[(*tag, True) for tag in image.place],
        **options,
    )


def _extra_samples(file: Path, page: Any, count: int) -> tuple[int, ...]:
    """What the file says of each sample beyond gray or colour; nothing said is a band."""
    told = tuple(int(kind) for kind in page.extrasamples)
    kinds = (*told, *(BAND,) * (count - len(told)))[: max(count, 0)]
    alphas = sum(kind in (ASSOCIATED, UNASSOCIATED) for kind in kinds)
    if count < 0 or alphas > 1 or (kinds and page.photometric.name == "PALETTE"):
        raise InputError(
            f"'{file}' has {_BASE[page.photometric.name] + count} samples a pixel "
            f"({page.photometric.name}), {alphas} of them alpha: save it as gray or RGB with at "
            "most one alpha."
        )
    return tuple(kind if kind in (ASSOCIATED, UNASSOCIATED) else BAND for kind in kinds)


def _place(page: Any) -> tuple[Tag, ...]:
    """The tags of a GeoTIFF, without those of another type than theirs.

    Text comes as str with whatever letters, of which tifffile 2026.3.3 writes none but ASCII; bytes
    it writes as they are.
    """
    found = (page.tags.get(code) for code in _PLACE)
    known = (tag for tag in found if tag is not None and tag.dtype == _PLACE[tag.code])
    kept: list[Tag] = []
    for tag in known:
        if isinstance(tag.value, str):
            kept.append((tag.code, int(tag.dtype), 0, tag.value.encode()))
        elif isinstance(tag.value, tuple):
            kept.append((tag.code, int(tag.dtype), len(tag.value), tag.value))
    return tuple(kept)


def _lost(page: Any, values: Pixels, extra: tuple[int, ...]) -> Pixels | None:
    """Where the file says by GDAL's tag that a number stands for a missing one; not for alpha."""
    try:
        number = float(str(page.tags.valueof(_NODATA, default="")).strip(" \0"))
    except ValueError:
        return None
    lost = values == number
    alpha = _alpha(extra, values.shape[2] - len(extra))
    if alpha is not None:
        lost[:, :, alpha] = False
    return lost


def _linear(file: Path, page: Any, values: Pixels) -> tuple[Pixels, int | None]:
    """Numbers for which more is brighter, and what is stored for 1 where the type does not say."""
    photometric = page.photometric.name
    bits = page.bitspersample
    if not isinstance(bits, int):
        raise InputError(f"'{file}' has samples of different numbers of bits ({bits}).")
    if photometric == "PALETTE":  # colours are 16 bits wide of which writers fill the high byte
        return (page.colormap.T[values[:, :, 0]] >> 8).astype(np.uint8), None
    white = None
    if values.dtype.kind == "b":
        values, white = values.astype(np.uint8), 1
    elif values.dtype.kind == "u" and bits < 8 * values.dtype.itemsize:
        white = 2**bits - 1
    if photometric == "MINISWHITE":
        if values.dtype.kind != "u":
            raise InputError(
                f"'{file}' says that 0 is white though its numbers are {values.dtype.name}: "
                "invert it first."
            )
        values = (white or np.iinfo(values.dtype).max) - values
    if white is not None and white < 255:  # too coarse for what is restored: 8 bits
        values = np.rint(values * (255.0 / white)).astype(np.uint8)
        white = None
    return values, white


def _alpha(extra: tuple[int, ...], base: int) -> int | None:
    places = [base + k for k, kind in enumerate(extra) if kind != BAND]
    return places[0] if places else None


def _refuse_associated(
    file: Path, values: Pixels, alpha: int | None, extra: tuple[int, ...], white: int | None
) -> None:
    """Colours that were multiplied by their opacity are unknown where it is 0."""
    if alpha is None or ASSOCIATED not in extra:
        return
    opaque = 1 if values.dtype.kind == "f" else white or np.iinfo(values.dtype).max
    if bool((values[:, :, alpha] != opaque).any()):
        raise InputError(
            f"'{file}' is partly transparent and its colours are multiplied by alpha (associated "
            "alpha), so that those behind transparency are lost: save it with unassociated "
            "(straight) alpha, or flatten it."
        )


def _resolution(page: Any) -> Resolution | None:
    """Pixels in a length: by OME, by ImageJ, by the tags of TIFF."""
    description = page.description if isinstance(page.description, str) else ""
    if "<OME" in description:
        return _of_ome(description)
    unit = _UNITS.get(int(page.tags.valueof("ResolutionUnit", default=2)), "none")
    pair = [_ratio(page.tags.valueof(name)) for name in ("XResolution", "YResolution")]
    x, y = pair
    if x is None or y is None:
        return None
    named = re.search(r"^unit=(\S+)", description, re.M)
    if description.startswith("ImageJ=") and unit == "none" and named:
        length = _CENTIMETRES.get(named[1])
        if length is not None:
            return Resolution(x / length, y / length, "centimeter")
    return None if unit == "none" and x == y else Resolution(x, y, unit)


def _of_ome(description: str) -> Resolution | None:
    found = []
    for axis in "XY":
        size = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', description)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', description)
        length = _CENTIMETRES.get(unit[1] if unit else "µm")
        if size is None or length is None or not float(size[1]) > 0:
            return None
        found.append(1.0 / (float(size[1]) * length))
    return Resolution(found[0], found[1], "centimeter")


def _ratio(value: Any) -> float | None:
    """A positive RATIONAL of a tag."""
    try:
        number = float(value[0] / value[1])
    except (TypeError, IndexError, ZeroDivisionError):
        return None
    return number if number > 0 else None


def _packed(values: Pixels, bits: int) -> bytes:
    """Rows of samples of a few bits each, the first bit first, each row filled to whole bytes."""
    rows = values.reshape(len(values), -1)
    single = (rows[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.astype(np.uint8).reshape(len(rows), -1), axis=1).tobytes()
