"""The problem, the images and the device that a user's words name."""

from __future__ import annotations

from pathlib import Path

import torch

from equipoise.errors import UnknownNameError, UsageError
from equipoise.problems.datasplit import DataSplit
from equipoise.problems.folders import folder_images
from equipoise.problems.kernels import Kernel, named_kernel
from equipoise.problems.masks import Mask, named_mask
from equipoise.problems.photographs import photographs
from equipoise.problems.problem import Problem, Shape
from equipoise.problems.tasks import Padding, deblur, denoise, from_physics, inpaint
from equipoise.problems.tomography import tomography
from equipoise.problems.user_physics import load_user_physics

#: The tasks of the comparison unless others are named: those of Riccio, Ehrhardt and Benning.
USUAL_TASKS = ("denoise", "inpaint", "deblur")
#: The tasks that have a name of their own.
TASKS = (*USUAL_TASKS, "tomography")
#: Word for a user's own operator.
OWN = "physics"
DEVICES = ("auto", "cpu", "cuda")


def pose(
    task: str,
    image_shape: Shape,
    *,
    noise: float | None = None,
    mask: str | Mask | None = None,
    kernel: str | Kernel | None = None,
    angles: str | None = None,
    unit_size: tuple[int, int] | None = None,
    physics: str | None = None,
    padding: Padding = "circular",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Problem:
    """Pose the problem that a task's name and options mean, for images of one shape.

    No image file is opened: texts are names with numbers, what a file holds is given by content.
    Only ``physics`` runs code.

    Args:
        task: denoise, inpaint, deblur, tomography, or physics.
        image_shape: (C, H, W).
        noise: standard deviation of the noise; None is the task's own.
        mask: share of known pixels, ``rows:0.5``, or a mask; None is the task's own.
        kernel: ``motion:9``, ``gaussian:1.5``, or a kernel; None is the task's own.
        angles: of tomography, ``30`` or ``60:0-120``; None is the task's own.
        unit_size: (H, W) of the images for which the tomograph has norm 1; None is their own.
        physics: ``module:function`` of a user's operator, for the task physics.
        padding: of the blur, circular or valid.
        seed: seed of a random mask.
        dtype: torch.float32 or torch.float64.
        device: where images and physics are.

    Raises:
        UnknownNameError: if there is no such task, mask or kernel.
        UsageError: if the task physics comes without an operator.
    """
    sigma = {} if noise is None else {"sigma": noise}
    if task == OWN:
        if physics is None:
            raise UsageError("The task physics needs your operator: --physics module:function.")
        name = physics.rpartition(":")[2]
        factory = load_user_physics(physics)
        return from_physics(factory, image_shape, **sigma, name=name, dtype=dtype, device=device)
    if task == "inpaint":
        known = named_mask(mask, seed) if isinstance(mask, str) else mask or 0.5
        return inpaint(image_shape, known, **sigma, seed=seed, dtype=dtype, device=device)
    if task == "deblur":
        blur = named_kernel(kernel) if isinstance(kernel, str) else kernel or "motion:9"
        return deblur(image_shape, blur, **sigma, padding=padding, dtype=dtype, device=device)
    if task == "tomography":
        views = "30" if angles is None else angles
        unit = None if unit_size is None else (unit_size[0], unit_size[1])
        return tomography(image_shape, views, **sigma, unit_size=unit, dtype=dtype, device=device)
    if task == "denoise":
        return denoise(image_shape, **sigma, dtype=dtype, device=device)
    raise UnknownNameError("task", task, TASKS)


def images_of(folder: str | None, *, colour: bool = False, crop: int | None = None) -> DataSplit:
    """The user's folder of images, or the photographs that scikit-image ships.

    Args:
        folder: path of a folder; None takes the embedded photographs.
        colour: three channels instead of one.
        crop: side of the central square of test images (and of embedded validation images); None
            leaves the user's images whole and takes 256 for the embedded ones.
    """
    if folder is None:
        return photographs(colour=colour, crop=crop or 256)
    return folder_images(Path(folder), colour=colour, crop=crop)


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes a GPU if there is one.

    Raises:
        UnknownNameError: for another name.
        UsageError: if there is no usable GPU.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, DEVICES)
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("No usable CUDA device was found; use --device cpu or auto.")
    return torch.device("cuda" if there and name != "cpu" else "cpu")
