"""Images in NumPy files: any layout of a few channels, complex numbers, as NumPy wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from equipoise.errors import InputError
from equipoise.images.decoded import Decoded, Pixels, check_size

#: Most channels of an array (C, H, W).
MOST_CHANNELS = 16


def decode_npy(file: Path) -> Decoded:
    """Read (H, W), (H, W, 1), (H, W, 3), (C, H, W), or complex (H, W).

    The file is mapped first, which takes no memory and fails where it is shorter than it says.
    """
    mapped = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.ndarray):
        mapped.close()
        raise InputError(f"'{file}' holds several arrays; save one image with numpy.save.")
    check_size(file, mapped.shape)
    values = np.array(mapped)
    if values.dtype.kind == "c" and values.ndim == 2:
        parts = values.view(values.real.dtype).reshape(*values.shape, 2)
        return Decoded(parts, axes="complex")
    shape = values.shape
    if values.ndim == 2:
        return Decoded(values[:, :, None])
    if values.ndim == 3 and shape[2] in (1, 3):
        return Decoded(values, axes="HWC")
    if values.ndim == 3 and (shape[0] <= 3 or shape[0] <= MOST_CHANNELS < min(shape[1:])):
        return Decoded(values.transpose(1, 2, 0), axes="CHW")
    raise InputError(
        f"'{file}' has shape {shape}; expected (H, W), (H, W, 3), or (C, H, W) with C up to 3, or "
        f"up to {MOST_CHANNELS} where the image is larger than that."
    )


def arranged(values: Pixels, axes: str) -> Pixels:
    """Pixels (H, W, C) in the layout of the file that they came from."""
    if axes == "complex":
        kind = np.complex128 if values.dtype == np.float64 else np.complex64
        return np.ascontiguousarray(values).view(kind)[:, :, 0]
    if axes == "CHW":
        return values.transpose(2, 0, 1)
    return values[:, :, 0] if axes == "HW" and values.shape[2] == 1 else values
