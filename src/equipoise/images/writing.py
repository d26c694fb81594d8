"""Write images in the depth that they were read with, in one step, never over an input."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.Image
import torch

from equipoise.errors import InputError, OutputError, UsageError
from equipoise.files import atomic_write
from equipoise.images.image import Depth, Image
from equipoise.images.reading import Pixels


def lossless_name(path: str | Path) -> Path:
    """The same name with an ending that loses nothing: JPEG becomes PNG, others stay."""
    file = Path(path)
    return file.with_suffix(".png") if file.suffix.lower() in (".jpg", ".jpeg") else file


def write_image(path: str | Path, image: Image, *, never: Iterable[str | Path] = ()) -> None:
    """Write an image as PNG, TIFF or NPY with the depth of ``image``.

    Integer depths are clipped to [0, 1] and rounded; floating-point depths are written as they
    are. The file appears in one step; its folder is made if it is missing.

    Args:
        path: where to; the ending says the format. JPEG is refused because it loses detail, see
            :func:`lossless_name`.
        image: what to write.
        never: files that must not be overwritten, for example the inputs.

    Raises:
        UsageError: if ``path`` is one of ``never``, or the format cannot hold the image.
        InputError: if the image has values that are NaN or infinite.
        OutputError: if the file cannot be written.
    """
    target = Path(path)
    if any(_same_file(target, Path(other)) for other in never):
        raise UsageError(f"'{target}' is an input and is not overwritten: choose another output.")
    suffix = target.suffix.lower()
    if suffix not in (".png", ".tif", ".tiff", ".npy"):
        raise UsageError(f"Cannot write '{target}': use .png, .tif or .npy, which lose nothing.")
    values = _quantise(image)
    if suffix == ".png" and image.depth.maximum is None:
        raise UsageError(f"PNG cannot hold {image.depth} numbers; write '{target.stem}.tif'.")
    if suffix != ".npy" and len(image.pixels) not in (1, 3):
        raise UsageError(f"Cannot write {len(image.pixels)} channels as {suffix}; use .npy.")
    if suffix == ".npy" and image.alpha is not None:
        raise UsageError("NumPy files hold no alpha; write a .png or .tif.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Could not make the folder '{target.parent}': {error}") from error
    content = io.BytesIO()
    if suffix == ".npy":
        np.save(content, _arrange(values, image.axes))
    elif suffix == ".png" and image.depth is Depth.UINT16:
        import imagecodecs  # as in reading.py

        content.write(imagecodecs.png_encode(values))
    elif suffix == ".png":
        PIL.Image.fromarray(_without_axis(values)).save(content, "PNG")
    else:
        _write_tiff(content, values, has_alpha=image.alpha is not None)
    atomic_write(target, content.getvalue())


def _same_file(a: Path, b: Path) -> bool:
    try:
        return os.path.samefile(a, b)
    except OSError:  # one of them does not exist
        return a.resolve() == b.resolve()


def _quantise(image: Image) -> Pixels:
    """Numbers of shape (H, W, C) as the file will store them."""
    planes = image.pixels if image.alpha is None else torch.cat([image.pixels, image.alpha])
    if planes.dim() != 3:
        raise InputError(f"An image has shape (C, H, W), got {tuple(planes.shape)}.")
    values = planes.detach().cpu().double().numpy().transpose(1, 2, 0)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise InputError(f"The image has {bad} values that are NaN or infinite; nothing written.")
    maximum = image.depth.maximum
    if maximum is not None:
        values = np.rint(np.clip(values, 0.0, 1.0) * maximum)
    return np.ascontiguousarray(values.astype(image.depth.value))


def _arrange(values: Pixels, axes: str) -> Pixels:
    if axes == "CHW":
        return values.transpose(2, 0, 1)
    return _without_axis(values) if axes == "HW" else values


def _without_axis(values: Pixels) -> Pixels:
    """Pixels of shape (H, W) where there is one channel."""
    return values[:, :, 0] if values.shape[2] == 1 else values


def _write_tiff(file: BinaryIO, values: Pixels, has_alpha: bool) -> None:
    import tifffile  # as in reading.py

    gray = values.shape[2] - has_alpha == 1
    tifffile.imwrite(
        file,
        _without_axis(values),
        photometric="minisblack" if gray else "rgb",
        planarconfig="contig" if values.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if has_alpha else None,
    )
