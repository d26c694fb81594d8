"""Handwritten digits in the idx format of MNIST."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equipoise.decoding import decoding
from equipoise.errors import InputError
from equipoise.problems.datasplit import DataSplit

#: First bytes of an idx file: two zeros and the code of unsigned bytes.
UNSIGNED_BYTES = b"\x00\x00\x08"
#: Most bytes for one that gzip wrote.
MOST_FOR_A_BYTE = 1100


def read_idx(path: str | Path) -> Tensor:
    """Read an idx file of unsigned bytes (images or labels of MNIST), gzipped or not.

    Args:
        path: the file; the ending ``.gz`` says that it is compressed.

    Returns:
        Tensor of dtype uint8 with the shape that the file's header states.

    Raises:
        InputError: if the file is missing, truncated, or of another format.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no file '{file}'.")
    with decoding(file, "idx file"):
        opening = gzip.open if file.suffix == ".gz" else Path.open
        with opening(file, "rb") as stream:
            head = stream.read(4)
            if head[:3] != UNSIGNED_BYTES or len(head) < 4:
                raise InputError(f"'{file}' is not an idx file of unsigned bytes.")
            sizes = stream.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise InputError(f"'{file}' is truncated within its header.")
            shape = struct.unpack(f">{head[3]}I", sizes)
            count = math.prod(shape)
            if count > MOST_FOR_A_BYTE * file.stat().st_size:
                raise _other_length(file, shape, "less")
            data = stream.read(count + 1)
        if len(data) != count:
            raise _other_length(file, shape, "less" if len(data) < count else "more")
        return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())


def _other_length(file: Path, shape: tuple[int, ...], held: str) -> InputError:
    words = " x ".join(str(size) for size in shape)
    return InputError(f"'{file}' should hold {words} bytes, it holds {held}: truncated or damaged.")


def digits(
    path: str | Path,
    *,
    validation: int = 500,
    test: int = 1000,
    dtype: torch.dtype = torch.float32,
) -> DataSplit:
    """Load digits: the last ``test`` are for test, the ``validation`` before them for validation.

    Args:
        path: idx file of images, shape (N, 28, 28).
        validation: number of validation images, positive.
        test: number of test images, positive.
        dtype: torch.float32 or torch.float64.

    Returns:
        The split, images (1, 28, 28) with values in [0, 1]; test images go by their position.

    Raises:
        InputError: if the file is unusable or too short.
    """
    values = read_idx(path)
    if values.dim() != 3:
        raise InputError(f"'{path}' holds shape {tuple(values.shape)}, expected images (N, H, W).")
    if validation < 1 or test < 1 or len(values) <= validation + test:
        raise InputError(
            f"'{path}' holds {len(values)} images, too few to set aside {validation} for "
            f"validation and {test} for test."
        )
    images = list((values[:, None].to(torch.float64) / 255).to(dtype))
    first = len(images) - test
    return DataSplit(
        name="digits",
        train=images[: first - validation],
        val=images[first - validation : first],
        test={f"digit-{k}": images[k] for k in range(first, len(images))},
    )
