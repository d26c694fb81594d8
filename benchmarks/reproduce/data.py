"""The images of trainings and tables: training, choice and test sets that never mix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from benchmarks.machine import ROOT
from equipoise.errors import InputError
from equipoise.images import read_image
from equipoise.images.image import to_colour, to_gray

Role = Literal["train", "choose", "test"]

#: Folders by what they may be used for. Of the colour training images, those whose number ends in
#: 9 are there to choose by.
FOLDERS: dict[bool, dict[Role, str]] = {
    False: {"train": "bsd400", "choose": "set12", "test": "bsd68"},
    True: {"train": "bsds300_color", "choose": "bsds300_color", "test": "cbsd68"},
}


def images(role: Role, *, colour: bool = False) -> dict[str, Tensor]:
    """The images of one set, shape (C, H, W), float32 from 0 to 1, by name in order of names.

    Args:
        role: what they are used for.
        colour: three channels instead of one.

    Raises:
        InputError: if the folder is missing: it lies in ``../shared/data``, or where the
            environment variable ``EQUIPOISE_DATA`` says.
    """
    base = Path(os.environ.get("EQUIPOISE_DATA", ROOT.parent / "shared" / "data"))
    folder = base / FOLDERS[colour][role]
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".jpg"))
    if not files:
        raise InputError(f"There are no images in '{folder}': set EQUIPOISE_DATA to their parent.")
    if colour and role != "test":
        chosen = role == "choose"
        files = [file for file in files if file.stem.endswith("9") == chosen]
    convert = to_colour if colour else to_gray
    return {f.stem: convert(read_image(f).unit_pixels(None)).to(torch.float32) for f in files}
