"""A folder of the user's images, divided into training, validation and test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.images import SUFFIXES, is_image_file, read_image, to_colour, to_gray
from equipoise.images.data_range import far_from
from equipoise.problems.datasplit import DataSplit, centre_crop
from equipoise.settings.data_range import DataRange

#: Shares of a folder without subfolders that are set aside, at least one image each.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


def folder_images(
    folder: str | Path,
    *,
    colour: bool = False,
    crop: int | None = 256,
    data_range: DataRange | None = None,
    dtype: torch.dtype = torch.float32,
) -> DataSplit:
    """Load a folder of images and divide it.

    With subfolders ``train`` and ``test`` (and ``val``; without it, the last tenth of ``train``
    is set aside) these are the sets. Otherwise the files are sorted by name: the last fifth is
    for test, the tenth before it for validation, at least one image each, the rest for training.

    Args:
        folder: where the images are; other files are left alone.
        colour: three channels (gray images are repeated) instead of one.
        crop: side of the central square that is cut from validation and test images; None: whole.
        data_range: which numbers of the files are black and white, 0 and 1 for what computes; None:
            what they say, otherwise 0 and their type's largest integer, or 0 and 1.
        dtype: torch.float32 or torch.float64.

    Returns:
        The split; test images go by their file names without ending. Its notes name files whose
        numbers are far from that range.

    Raises:
        InputError: if the folder is missing, empty or has too few images, or a file is unreadable
            or partly transparent; the message names it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"There is no folder '{root}'.")
    train, val, test = _divide(root)
    convert = to_colour if colour else to_gray
    odd: list[str] = []
    coloured: set[Path] = set()

    def load(file: Path) -> Tensor:
        image = read_image(file)
        if image.alpha is not None and not bool((image.alpha == 1).all()):
            raise InputError(
                f"'{file}' is partly transparent: flatten it first, "
                "the colours behind transparency mean nothing."
            )
        pixels = image.unit_pixels(data_range).to(dtype)
        warning = far_from(pixels, image.range(data_range))
        if warning is not None:
            odd.append(f"{file.name}: {warning}")
        if len(pixels) == 3 and not colour:
            coloured.add(file)
        try:
            return convert(pixels)
        except InputError as error:
            raise InputError(f"'{file}': {error}") from error

    def cut(image: Tensor) -> Tensor:
        return image if crop is None else centre_crop(image, crop)

    split = DataSplit(
        name=root.resolve().name,
        train=[load(file) for file in train],
        val=[cut(load(file)) for file in val],
        test={name: cut(load(file)) for name, file in _named(test).items()},
    )
    more = f" So it is with {len(odd)} of the images." if len(odd) > 1 else ""
    names = tuple(file.name for file in train), tuple(file.name for file in val)
    notes = [odd[0] + more] if odd else []
    if coloured:
        notes.append(f"{len(coloured)} of the images are in colour and are taken in gray.")
    return replace(split, names=names, notes=tuple(notes))


def _divide(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    if (root / "train").is_dir() or (root / "test").is_dir():
        train, test = _files(root / "train"), _files(root / "test")
        if (root / "val").is_dir():
            return train, _files(root / "val"), test
        if len(train) < 2:
            raise InputError(
                f"'{root / 'train'}' has one image, but one is needed for training and one for "
                "validation: add images, or a folder 'val'."
            )
        count = max(1, round(VALIDATION_SHARE * len(train)))
        return train[:-count], train[-count:], test
    files = _files(root)
    if len(files) < 3:
        raise InputError(
            f"'{root}' has {len(files)} image(s), but at least 3 are needed (training, validation, "
            "test): add images, or cut a large one into several files."
        )
    tests = max(1, round(TEST_SHARE * len(files)))
    vals = max(1, round(VALIDATION_SHARE * len(files)))
    return files[: -tests - vals], files[-tests - vals : -tests], files[-tests:]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'; 'train' and 'test' go together.")
    files = sorted(file for file in folder.iterdir() if is_image_file(file))
    if not files:
        raise InputError(f"The folder '{folder}' has no images ({', '.join(SUFFIXES)}).")
    return files


def _named(files: list[Path]) -> dict[str, Path]:
    """Files by their name without ending, or by their whole name where that is ambiguous."""
    stems = [file.stem for file in files]
    return {file.stem if stems.count(file.stem) == 1 else file.name: file for file in files}
