"""The standard problems of the benchmarks: published regularisers on shared photographs."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import ROOT, device
from equipoise.equation import Equation
from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.images import read_image, to_gray
from equipoise.problems import Problem, deblur, denoise, inpaint, tomography
from equipoise.problems.datasplit import centre_crop
from equipoise.regularizers import Regularizer, RidgeRegularizer

Task = Literal["denoise", "inpaint", "deblur", "tomography"]
Weights = Literal["crr", "wcrr"]

#: Environment variable with the folder of test images and weights.
FOLDER = "EQUIPOISE_DATA"
#: Task -> (sigma, alpha).
STRENGTHS: dict[str, tuple[float, float]] = {
    "denoise": (0.1, 1.0),
    "inpaint": (0.02, 0.03),
    "deblur": (0.02, 0.03),
    "tomography": (0.01, 0.03),
}
#: Size and standard deviation of the Gaussian blur, in pixels.
BLUR_SIZE, BLUR_DEVIATION = 9, 1.6
#: Directions of tomography.
ANGLES = 30


@dataclass(frozen=True, eq=False)
class Instance:
    """One batch of measurements to be restored.

    Args:
        problem: operator and noise.
        truth: images, shape (B, 1, H, W).
        y: measurements.
        regularizer: R.
        alpha: strength.
        name: of images and size, for tables.
    """

    problem: Problem
    truth: Tensor
    y: Tensor
    regularizer: Regularizer
    alpha: float
    name: str

    def equation(self) -> Equation:
        """The equation, with nothing computed yet."""
        return Equation(self.problem.physics, self.y, self.regularizer, self.alpha)

    def start(self) -> Tensor:
        """Where every method starts."""
        return self.problem.start(self.y)

    def to(self, dtype: torch.dtype) -> Instance:
        """The same measurements, operator and weights in another precision, for references."""
        return replace(
            self,
            problem=self.problem.with_dtype(dtype),
            truth=self.truth.to(dtype),
            y=self.y.to(dtype),
            regularizer=copy.deepcopy(self.regularizer).to(dtype),
        )


def data_folder(name: str) -> Path:
    """A file or folder of the shared test data.

    Raises:
        UsageError: naming the folder, if it is absent.
    """
    base = Path(os.environ.get(FOLDER) or ROOT.parent / "shared" / "data")
    if not (base / name).exists():
        raise UsageError(
            f"The benchmarks need '{name}' in the folder {base}, which is not there. Set {FOLDER} "
            "to the folder that holds bsd68, set12 and ridge_weights."
        )
    return base / name


def arrays(name: Weights) -> dict[str, Tensor]:
    """The published numbers of a ridge regulariser, as in its file, in float64.

    Raises:
        UsageError: if the data are absent.
    """
    with np.load(data_folder("ridge_weights") / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]).double() for key in file.files}


def ridge(name: Weights, dtype: torch.dtype = torch.float32) -> RidgeRegularizer:
    """The published convex ("crr") or weakly convex ("wcrr") ridge regulariser.

    Raises:
        UsageError: if the data are absent.
        UnknownNameError: for another name.
    """
    if name not in get_args(Weights):
        raise UnknownNameError("ridge regulariser", name, get_args(Weights))
    published = arrays(name)
    regularizer = RidgeRegularizer.from_arrays(
        [published[f"filter{i}"] for i in (1, 2, 3)],
        published["weight"],
        published["slope"],
        float(published["weak_convexity"]),
    )
    return regularizer.to(device(), dtype)


def photographs(
    folder: str, count: int, crop: int | None = None, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """The first images of a folder, sorted by name, in gray.

    Args:
        folder: ``"bsd68"``, ``"set12"`` or another folder of the shared data.
        count: how many.
        crop: side of the central square; None: whole images.
        dtype: of the images, whose values are in [0, 1].

    Returns:
        Images of shape (1, H, W) on the device of the benchmarks.

    Raises:
        UsageError: if the data are absent.
        InputError: if there are fewer images.
    """
    files = sorted(data_folder(folder).glob("*.png"))[:count]
    if len(files) < count:
        raise InputError(f"The folder '{folder}' holds {len(files)} images, {count} are needed.")
    images = [to_gray(read_image(file).pixels).to(device(), dtype) for file in files]
    return images if crop is None else [centre_crop(image, crop) for image in images]


def tiled(height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """One large image (1, H, W) made of photographs of set12 side by side, mirrored by turns."""
    tile = 256
    images = photographs("set12", 7, tile, dtype)
    rows = []
    for i in range(-(-height // tile)):
        row = [images[(3 * i + j) % len(images)] for j in range(-(-width // tile))]
        rows.append(torch.cat([t.flip(-1) if j % 2 else t for j, t in enumerate(row)], dim=-1))
    return torch.cat([r.flip(-2) if i % 2 else r for i, r in enumerate(rows)], dim=-2)[
        :, :height, :width
    ].contiguous()


def patches(count: int, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A batch (count, 1, size, size) cut from photographs of set12, of mixed difficulty."""
    found: list[Tensor] = []
    for image in photographs("set12", 7, 256, dtype):
        cut = image.unfold(1, size, size).unfold(2, size, size)
        found += cut.reshape(1, -1, size, size).movedim(0, 1).unbind(0)
    if count > len(found):
        found = found * -(-count // len(found))
    step = max(1, len(found) // count)
    return torch.stack(found[::step][:count])


def pose(
    task: Task,
    size: tuple[int, int],
    sigma: float | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Problem:
    """The standard problem of a task for images (1, *size).

    Raises:
        UnknownNameError: for another task.
    """
    if task not in STRENGTHS:
        raise UnknownNameError("task", task, STRENGTHS)
    noise = STRENGTHS[task][0] if sigma is None else sigma
    shape, place = (1, *size), device()
    if task == "inpaint":
        return inpaint(shape, 0.5, sigma=noise, seed=seed, dtype=dtype, device=place)
    if task == "deblur":
        return deblur(shape, _blur(), sigma=noise, dtype=dtype, device=place)
    if task == "tomography":
        return tomography(shape, ANGLES, sigma=noise, dtype=dtype, device=place)
    return denoise(shape, sigma=noise, dtype=dtype, device=place)


def of_images(
    task: Task,
    truth: Tensor,
    regularizer: Regularizer,
    *,
    name: str,
    sigma: float | None = None,
    alpha: float | None = None,
    seed: int = 0,
) -> Instance:
    """The standard problem of a task on given images of shape (B, 1, H, W).

    Args:
        task: denoise, inpaint, deblur or tomography.
        truth: the images; their dtype is that of the problem.
        regularizer: R.
        name: what tables call the images.
        sigma: noise; None is the task's own.
        alpha: strength; None is the task's own.
        seed: of noise and mask.
    """
    size = (truth.shape[2], truth.shape[3])
    problem = pose(task, size, sigma, truth.dtype, seed)
    y = problem.measure(truth, torch.Generator().manual_seed(seed))
    strength = STRENGTHS[task][1] if alpha is None else alpha
    return Instance(problem, truth, y, regularizer, strength, name)


def instance(
    task: Task,
    regularizer: Weights,
    index: int = 0,
    size: int = 256,
    *,
    sigma: float | None = None,
    alpha: float | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Instance:
    """The standard instance: the centre of one bsd68 image with a published regulariser.

    Args:
        task: denoise, inpaint, deblur or tomography.
        regularizer: ``"crr"`` or ``"wcrr"``.
        index: of the image, sorted by name; noise and mask have the seed ``seed + index``.
        size: side of the central square.
        sigma: noise; None is the task's own.
        alpha: strength; None is the task's own.
        dtype: torch.float32 or torch.float64.
        seed: of noise and mask.

    Raises:
        UsageError: if the data are absent.
    """
    image = photographs("bsd68", index + 1, size, dtype)[index]
    return of_images(
        task,
        image[None],
        ridge(regularizer, dtype),
        name=f"bsd68 {index + 1}, {size} x {size}",
        sigma=sigma,
        alpha=alpha,
        seed=seed + index,
    )


def _blur() -> Tensor:
    """A square Gaussian kernel."""
    t = torch.arange(BLUR_SIZE, dtype=torch.float64) - BLUR_SIZE // 2
    line = torch.exp(-(t**2) / (2 * BLUR_DEVIATION**2))
    return torch.outer(line, line)
