"""The photographs that come with scikit-image, divided once and for all."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import InputError
from equipoise.images import read_image, to_colour, to_gray
from equipoise.problems.datasplit import DataSplit, centre_crop

#: Test photographs: name -> file. No other view of these scenes is used anywhere.
TEST = {
    "astronaut": "astronaut.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
}
#: Validation photographs.
VALIDATION = {"clock": "clock_motion.png", "coins": "coins.png"}
#: Training photographs; of the stereo pair only the left view is used.
TRAINING = {
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
    "moon": "moon.png",
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
}
#: Training photographs that are used at full and at half size; the others at half size only.
BOTH_SIZES = ("motorcycle", "rocket")


def photographs(
    *, colour: bool = False, crop: int = 256, dtype: torch.dtype = torch.float32
) -> DataSplit:
    """Load the photographs that scikit-image ships, with a fixed split by scene.

    Test: astronaut, camera, chelsea, coffee. Validation: clock, coins. Training: motorcycle and
    rocket at full and half size (means over 2 x 2 pixels, for variety of scale), moon and the
    textures brick, grass, gravel at half size, where they are sharp.

    Args:
        colour: three channels (gray photographs are repeated) instead of one.
        crop: side of the central square that is cut from test and validation photographs.
        dtype: torch.float32 or torch.float64.

    Returns:
        The split, values in [0, 1].

    Raises:
        InputError: if the installed scikit-image does not have a file. Nothing is downloaded.
    """
    convert = to_colour if colour else to_gray

    def load(file: str) -> Tensor:
        return convert(read_image(photograph_file(file)).pixels.to(dtype))

    train = []
    for name, file in TRAINING.items():
        image = load(file)
        train.append(half_size(image))
        if name in BOTH_SIZES:
            train.append(image)
    return DataSplit(
        name="scikit-image photographs",
        train=train,
        val=[centre_crop(load(file), crop) for file in VALIDATION.values()],
        test={name: centre_crop(load(file), crop) for name, file in TEST.items()},
    )


def half_size(image: Tensor) -> Tensor:
    """Reduce an image (C, H, W) to half its size by means over 2 x 2 pixels."""
    return F.avg_pool2d(image, 2)


def photograph_file(name: str) -> Path:
    """Where scikit-image keeps one of its photographs.

    The file is looked up in the installed package itself: scikit-image's own loaders would
    download what is missing.

    Raises:
        InputError: if the file is not there.
    """
    spec = importlib.util.find_spec("skimage")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        file = Path(folder) / "data" / name
        if file.is_file():
            return file
    raise InputError(
        f"The installed scikit-image does not contain '{name}': install scikit-image 0.26 or "
        "newer, or give a folder of your own images."
    )
