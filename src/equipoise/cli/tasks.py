"""Which inverse problem a user means: options, checked and completed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from equipoise.errors import UnknownNameError, UsageError, WeightsError
from equipoise.problems import FixedMask, Problem, kernel_from_text, mask_from_text
from equipoise.problems.kernels import Kernel, is_kernel_file, kernel_from_tensor, named_kernel
from equipoise.problems.masks import is_mask_file, named_mask
from equipoise.problems.pose import OWN, TASKS, USUAL_TASKS, pose
from equipoise.problems.tasks import Padding
from equipoise.problems.views import views_from_text


@dataclass(frozen=True)
class TaskOptions:
    """One inverse problem as users name it; goes into weights files.

    Texts are names with numbers and never paths: what an image file held stands here by content,
    so that it goes into the weights file.

    Args:
        task: denoise, inpaint, deblur, tomography, or physics.
        noise: standard deviation of the noise; None is the task's own.
        mask: share of known pixels, ``rows:0.5``, or what a mask image held; None is the task's
            own.
        kernel: ``motion:9``, ``gaussian:1.5``, or what a file held; None is the task's own.
        physics: ``module:function`` of a user's operator.
        angles: ``30`` or ``60:0-120``; None is the task's own.
        unit_size: (H, W) of the images for which a tomograph has norm 1; None is their own.
    """

    task: str
    noise: float | None = None
    mask: str | FixedMask | None = None
    kernel: str | Kernel | None = None
    physics: str | None = None
    angles: str | None = None
    unit_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_options((self.task,), self.mask, self.kernel, self.physics, self.angles)

    def scaled_for(self, side: int) -> TaskOptions:
        """The options with the scale of a tomograph fixed: norm 1 for squares of that side.

        What is learned then has the right strength for images of every size, see
        :func:`~equipoise.problems.tomography.tomography`. Other tasks have no such scale.
        """
        if self.task != "tomography" or self.unit_size is not None:
            return self
        return replace(self, unit_size=(side, side))

    def problem(
        self,
        image_shape: tuple[int, ...],
        *,
        padding: Padding = "circular",
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> Problem:
        """Pose the problem for images of one shape (C, H, W); see :func:`pose`."""
        return pose(
            **self.arguments(),
            image_shape=image_shape,
            padding=padding,
            seed=seed,
            dtype=dtype,
            device=device,
        )

    def arguments(self) -> dict[str, Any]:
        """The options as arguments of :func:`pose`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def as_record(self) -> dict[str, Any]:
        """JSON-able form for a weights file, but for the tensors of kernel and mask."""
        found = self.arguments()
        if isinstance(self.mask, FixedMask):
            found["mask"] = {
                "origin": self.mask.origin,
                "values": self.mask.values.to("cpu", torch.uint8),
            }
        if isinstance(self.kernel, Kernel):
            found["kernel"] = {
                "description": self.kernel.description,
                "values": self.kernel.values,
            }
        return found

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TaskOptions | None:
        """The options in a weights file's record; None if it has none.

        Files of format 1 may name a mask or kernel that they do not hold; :func:`choose_task`
        refuses that.

        Raises:
            WeightsError: if they are damaged.
        """
        found = record.get("task")
        if found is None:
            return None
        try:
            return cls(**_checked(found))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise WeightsError(
                "The task in the weights' record is damaged; name it with --task and its options."
            ) from error


#: Types of the options in a record, None aside.
_TYPES: dict[str, Any] = {
    "task": str,
    "noise": (int, float),
    "mask": (str, dict),
    "kernel": (str, dict),
    "physics": str,
    "angles": str,
    "unit_size": (list, tuple),
}


def _checked(found: Any) -> dict[str, Any]:
    """The options of a record as arguments of :class:`TaskOptions`.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: if they are damaged.
    """
    options = dict(found)
    for name, value in found.items():
        if value is not None and not isinstance(value, _TYPES[name]):
            raise TypeError(name)
    if isinstance(options.get("mask"), dict):
        options["mask"] = FixedMask(**options["mask"])
    if isinstance(options.get("kernel"), dict):
        options["kernel"] = kernel_from_tensor(**options["kernel"])
    if options.get("unit_size") is not None:
        if [type(n) for n in options["unit_size"]] != [int, int]:
            raise TypeError("unit_size")
        options["unit_size"] = tuple(options["unit_size"])
    return options


def choose_task(
    usual: TaskOptions | None,
    *,
    task: str | None,
    noise: float | None,
    mask: str | None,
    kernel: str | None,
    physics: str | None,
    angles: str | None = None,
) -> TaskOptions:
    """Complete what the user gave by the usual options, as long as the task is the same.

    What comes from a weights file opens no other file and runs no code: its operator must be
    named again by the user.

    Args:
        usual: options of the weights' record; None takes denoising with its own noise.
        task: the name that was given, or None; the others likewise. Mask and kernel may be paths,
            which are read.

    Raises:
        UnknownNameError: if there is no such task.
        UsageError: if an option does not belong to the task, or must be named by the user.
        InputError: if a mask or kernel cannot be read.
    """
    if task is not None and physics is not None and task != OWN:
        raise UsageError("--task and --physics exclude each other; give one of them.")
    name = task or (OWN if physics is not None else usual.task if usual else "denoise")
    known = usual if usual is not None and usual.task == name else None
    named = physics if known is None or physics is not None else known.physics
    check_options((name,), mask, kernel, named, angles)
    given: dict[str, Any] = {
        "noise": noise,
        "mask": mask_from_text(mask) if mask and is_mask_file(mask) else mask,
        "kernel": kernel_from_text(kernel) if kernel and is_kernel_file(kernel) else kernel,
        "physics": physics,
        "angles": angles,
    }
    if known is None:
        return TaskOptions(name, **given)
    given = {key: value for key, value in given.items() if value is not None}
    _refuse_outside(known, given)
    return replace(known, **given)


def _refuse_outside(known: TaskOptions, given: Mapping[str, Any]) -> None:
    """Refuse what a weights file names and does not hold, unless the user gave it.

    Raises:
        UsageError: saying what it is and how to give it.
    """
    if known.physics is not None and "physics" not in given:
        raise UsageError(
            f"The weights were trained for your operator '{known.physics}', but a weights file "
            "must not choose which code runs: if that is the code you mean, add --physics "
            f"{known.physics}; for another problem, add --task."
        )
    for option, read in (("mask", named_mask), ("kernel", named_kernel)):
        text = getattr(known, option)
        try:
            if isinstance(text, str) and option not in given:
                read(text)
        except UsageError:
            raise UsageError(
                f"The weights were trained with the {option} '{text}', which their file, written "
                f"by an older version of equipoise, does not hold: add --{option} FILE with that "
                "image."
            ) from None


def compared_tasks(
    tasks: tuple[str, ...] | None,
    mask: str | None,
    kernel: str | None,
    physics: str | None,
    angles: str | None = None,
) -> tuple[str, ...]:
    """The tasks of a comparison; the usual three if none is named, and for the word ``all``.

    Raises:
        UnknownNameError: if there is no such task.
        UsageError: if an option belongs to none of them.
    """
    if physics is not None and tasks not in (None, (OWN,)):
        raise UsageError("--task and --physics exclude each other; give one of them.")
    if physics is not None:
        chosen: tuple[str, ...] = (OWN,)
    else:
        spread = [USUAL_TASKS if name == "all" else (name,) for name in tasks or ("all",)]
        chosen = tuple(dict.fromkeys(name for group in spread for name in group))
    check_options(chosen, mask, kernel, physics, angles)
    return chosen


def check_options(
    tasks: tuple[str, ...],
    mask: str | FixedMask | None,
    kernel: str | Kernel | None,
    physics: str | None,
    angles: str | None = None,
) -> None:
    """Refuse unknown tasks and options that belong to none of the tasks.

    Raises:
        UnknownNameError: if there is no such task.
        UsageError: if an option would be without effect or cannot be read, or the operator is
            missing.
        InputError: if there are no such angles.
    """
    for name in tasks:
        if name not in (*TASKS, OWN):
            raise UnknownNameError("task", name, TASKS)
    if OWN in tasks and physics is None:
        raise UsageError("The task physics needs your operator: --physics module:function.")
    if mask is not None and "inpaint" not in tasks:
        raise UsageError("--mask and --mask-fraction belong to --task inpaint.")
    if kernel is not None and "deblur" not in tasks:
        raise UsageError("--kernel belongs to --task deblur.")
    if angles is not None:
        if "tomography" not in tasks:
            raise UsageError("--angles belongs to --task tomography.")
        views_from_text(angles)
