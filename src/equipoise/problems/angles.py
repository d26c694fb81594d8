"""Directions of a tomograph that a file lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from equipoise.errors import InputError
from equipoise.settings.views import MOST, Views

#: Endings of files that list numbers.
SUFFIXES = (".txt", ".csv", ".npy")


def is_angles_file(text: str) -> bool:
    """Whether a text names a file of directions."""
    return Path(text).suffix.lower() in SUFFIXES


def angles_from_file(path: str | Path) -> str:
    """Read directions in degrees: a text file with one or several a line, or a NumPy array.

    Returns:
        The text that :func:`~equipoise.settings.views.views_from_text` takes, ``"0,10,25.5"``.

    Raises:
        InputError: if the file is missing, holds no numbers, or too few or too many.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no file of angles '{file}'.")
    if file.stat().st_size > 32 * MOST:
        raise InputError(f"'{file}' is too large to list at most {MOST} angles.")
    try:
        if file.suffix.lower() == ".npy":
            numbers = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            numbers = np.array(file.read_text().replace(",", " ").split(), dtype=float)
        degrees = np.asarray(numbers, dtype=float).ravel().tolist()
    except Exception as error:  # whatever stands in the file
        raise InputError(
            f"'{file}' holds no angles: write numbers in degrees, one a line ({error})."
        ) from error
    if len(degrees) < 2:
        raise InputError(
            f"'{file}' lists {len(degrees)} angles; --angles takes at least 2 of them."
        )
    return ",".join(map(repr, Views.of(degrees).listed))
