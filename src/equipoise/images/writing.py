"""Write images in the depth that they were read with, in one step, never over an input."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from equipoise.errors import InputError, OutputError, UsageError
from equipoise.files import atomic_write
from equipoise.images.decoded import EXACT, Pixels
from equipoise.images.image import Depth, Image
from equipoise.images.numpy_files import arranged
from equipoise.images.png_chunks import with_chunks
from equipoise.images.tiff import bits_of, encode_tiff

#: Endings of files that are written.
_WRITTEN = (".png", ".tif", ".tiff", ".npy")


def lossless_name(path: str | Path) -> Path:
    """The same name with an ending that is written: JPEG, BMP, PGM and PPM become PNG."""
    file = Path(path)
    return file if file.suffix.lower() in _WRITTEN else file.with_suffix(".png")


def write_image(path: str | Path, image: Image, *, never: Iterable[str | Path] = ()) -> None:
    """Write an image as PNG, TIFF or NPY with the depth of ``image``.

    Integers that were divided when they were read are multiplied again, and all are rounded and
    clipped to what their type can hold; floating-point numbers are written as they are. PNG and
    TIFF keep resolution and colour profile, TIFF the meaning of further samples, their number of
    bits, and where a GeoTIFF lies. The file appears in one step; its folder is made if it is
    missing.

    Args:
        path: where to; the ending says the format. JPEG is refused because it loses detail, see
            :func:`lossless_name`.
        image: what to write.
        never: files that must not be overwritten, for example the inputs.

    Raises:
        UsageError: if ``path`` is one of ``never``, or the format cannot hold the image.
        InputError: if the image has values that are NaN or infinite, or too large for float16.
        OutputError: if the file cannot be written.
    """
    target = Path(path)
    if any(_same_file(target, Path(other)) for other in never):
        raise UsageError(f"'{target}' is an input and is not overwritten: choose another output.")
    suffix = target.suffix.lower()
    if suffix not in _WRITTEN:
        raise UsageError(f"Cannot write '{target}': use .png, .tif or .npy, which lose nothing.")
    values = _quantise(image, bits_of(image) if suffix in (".tif", ".tiff") else None)
    if suffix == ".png" and image.depth not in (Depth.UINT8, Depth.UINT16):
        raise UsageError(f"PNG cannot hold {image.depth} numbers; write '{target.stem}.tif'.")
    if suffix == ".png" and len(image.pixels) not in (1, 3):
        raise UsageError(f"PNG cannot hold {len(image.pixels)} channels; use .tif or .npy.")
    if suffix == ".npy" and image.alpha is not None:
        raise UsageError("NumPy files hold no alpha; write a .png or .tif.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Could not make the folder '{target.parent}': {error}") from error
    content = io.BytesIO()
    if suffix == ".npy":
        np.save(content, arranged(values, image.axes))
    elif suffix != ".png":
        encode_tiff(content, values, image)
    else:
        content.write(with_chunks(_png(values), image.resolution, image.profile))
    atomic_write(target, content.getvalue())


def _same_file(a: Path, b: Path) -> bool:
    try:
        return os.path.samefile(a, b)
    except OSError:  # one of them does not exist
        return a.resolve() == b.resolve()


def _quantise(image: Image, bits: int | None) -> Pixels:
    """Numbers of shape (H, W, C) as the file will store them, of fewer bits than their type's."""
    if image.pixels.dim() != 3:
        raise InputError(f"An image has shape (C, H, W), got {tuple(image.pixels.shape)}.")
    values = _with_alpha(image).detach().cpu().double().numpy()
    depth = image.depth
    bad = int((~np.isfinite(values)).sum())
    if bad == 0 and depth.integer:
        kind = np.iinfo(depth.value)
        white = 2**bits - 1 if bits else depth.maximum
        values = values * (white or 1)
        least, most = max(kind.min, -EXACT), white or min(kind.max, EXACT)
        values = np.clip(np.rint(values, out=values), least, most, out=values)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        stored = values.astype(depth.value)
    if bad == 0 and not depth.integer:
        bad = int((~np.isfinite(stored)).sum())
    if bad:
        raise InputError(f"The image has {bad} values that are NaN or infinite; nothing written.")
    return np.ascontiguousarray(stored.transpose(1, 2, 0))


def _with_alpha(image: Image) -> Tensor:
    """Pixels with alpha where the file had it: last, unless a TIFF says otherwise."""
    if image.alpha is None:
        return image.pixels
    kinds = [kind != 0 for kind in image.extra]
    after = len(kinds) - 1 - kinds.index(True) if any(kinds) else 0
    place = len(image.pixels) - after
    return torch.cat([image.pixels[:place], image.alpha, image.pixels[place:]])


def _png(values: Pixels) -> bytes:
    single = np.ascontiguousarray(values[:, :, 0]) if values.shape[2] == 1 else values
    if values.dtype == np.uint16:
        import imagecodecs  # as in reading.py

        return bytes(imagecodecs.png_encode(single))
    content = io.BytesIO()
    PIL.Image.fromarray(single).save(content, "PNG")
    return content.getvalue()
