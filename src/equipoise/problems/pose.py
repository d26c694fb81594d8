"""The problem, the images and the device that a user's words name."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from equipoise.errors import UnknownNameError, UsageError
from equipoise.problems.datasplit import DataSplit
from equipoise.problems.folders import folder_images
from equipoise.problems.kernels import Kernel, named_kernel
from equipoise.problems.masks import FixedMask, MaskFolder, named_mask
from equipoise.problems.photographs import photographs
from equipoise.problems.problem import Problem, Shape
from equipoise.problems.tasks import Padding, deblur, denoise, from_physics, inpaint
from equipoise.problems.tomography import Detector, tomography
from equipoise.problems.user_physics import load_user_physics
from equipoise.settings.data_range import DataRange
from equipoise.settings.task import OWN, Content, Task

DEVICES = ("auto", "cpu", "cuda")

Held = TypeVar("Held", FixedMask, Kernel)


def pose(
    task: Task,
    image_shape: Shape,
    *,
    padding: Padding = "circular",
    detector: Detector | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Problem:
    """Pose the problem that a task means, for images of one shape.

    No image file is opened: texts are names with numbers, what a file holds is given by content.
    Only the task's ``physics`` runs code. Images of the problem are on the scale from 0 to 1: black
    and white of the task's data range.

    Args:
        task: name and options; its mask is a text or a
            :class:`~equipoise.problems.masks.FixedMask`, its kernel a text or a
            :class:`~equipoise.problems.kernels.Kernel`.
        image_shape: (C, H, W).
        padding: of the blur, circular or valid.
        detector: of the tomograph; None: one as wide as the images' diagonal.
        seed: seed of a random mask.
        dtype: torch.float32 or torch.float64.
        device: where images and physics are.

    Raises:
        UnknownNameError: if there is no such mask or kernel.
        UsageError: if a mask stands in place of a kernel, or the other way.
        InputError: if the options do not fit images of that shape.
    """
    sigma = {} if task.noise is None else {"sigma": task.noise / task.span}
    if task.name == "inpaint":
        mask = task.mask or "0.5"
        known = named_mask(mask, seed) if isinstance(mask, str) else _held(mask, FixedMask)
        return inpaint(image_shape, known, **sigma, seed=seed, dtype=dtype, device=device)
    if task.name == "deblur":
        kernel = task.kernel or "motion:9"
        blur = named_kernel(kernel) if isinstance(kernel, str) else _held(kernel, Kernel)
        return deblur(image_shape, blur, **sigma, padding=padding, dtype=dtype, device=device)
    if task.name == "tomography":
        views, unit = task.angles or "30", task.unit_size
        return tomography(
            image_shape,
            views,
            **sigma,
            unit_size=unit,
            detector=detector,
            dtype=dtype,
            device=device,
        )
    if task.name == OWN:
        assert task.physics is not None, "checked by the task"
        name = task.physics.rpartition(":")[2]
        factory = load_user_physics(task.physics)
        return from_physics(factory, image_shape, **sigma, name=name, dtype=dtype, device=device)
    return denoise(image_shape, **sigma, dtype=dtype, device=device)


def _held(content: Content, kind: type[Held]) -> Held:
    if isinstance(content, MaskFolder):
        raise UsageError("A folder of masks has one for each image: for reconstruct only.")
    if not isinstance(content, kind):
        raise UsageError(
            f"The task needs a {kind.__name__}, or a text, got {type(content).__name__}."
        )
    return content


def images_of(
    folder: str | None,
    *,
    colour: bool = False,
    crop: int | None = None,
    data_range: DataRange | None = None,
) -> DataSplit:
    """The user's folder of images, or the photographs that scikit-image ships.

    Args:
        folder: path of a folder; None takes the embedded photographs.
        colour: three channels instead of one.
        crop: side of the central square of test images (and of embedded validation images); None
            leaves the user's images whole and takes 256 for the embedded ones.
        data_range: black and white of the user's images, see
            :func:`~equipoise.problems.folders.folder_images`; the embedded ones have their own.
    """
    if folder is None:
        return photographs(colour=colour, crop=crop or 256)
    return folder_images(Path(folder), colour=colour, crop=crop, data_range=data_range)


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
