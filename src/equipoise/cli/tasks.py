"""Which inverse problem a user means: options, checked and completed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from equipoise.errors import UnknownNameError, UsageError, WeightsError
from equipoise.problems import Problem
from equipoise.problems.pose import OWN, TASKS, USUAL_TASKS, pose
from equipoise.problems.tasks import Padding
from equipoise.problems.views import views_from_text


@dataclass(frozen=True)
class TaskOptions:
    """One inverse problem as users name it; goes into weights files.

    Args:
        task: denoise, inpaint, deblur, tomography, or physics.
        noise: standard deviation of the noise; None is the task's own.
        mask: share of known pixels, ``rows:0.5``, or a mask image; None is the task's own.
        kernel: ``motion:9``, ``gaussian:1.5``, or an image; None is the task's own.
        physics: ``module:function`` of a user's operator.
        angles: ``30`` or ``60:0-120``; None is the task's own.
        unit_size: (H, W) of the images for which a tomograph has norm 1; None is their own.
    """

    task: str
    noise: float | None = None
    mask: str | None = None
    kernel: str | None = None
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
            **self.as_record(),
            image_shape=image_shape,
            padding=padding,
            seed=seed,
            dtype=dtype,
            device=device,
        )

    def as_record(self) -> dict[str, Any]:
        """JSON-able form for a weights file."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TaskOptions | None:
        """The options in a weights file's record; None if it has none.

        Raises:
            WeightsError: if they are damaged.
        """
        found = record.get("task")
        if found is None:
            return None
        damaged = WeightsError(
            "The task in the weights' record is damaged; name it with --task and its options."
        )
        known = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or "task" not in found or not set(found) <= known:
            raise damaged
        unit = found.get("unit_size")
        if unit is not None:
            if not (isinstance(unit, (list, tuple)) and [type(n) for n in unit] == [int, int]):
                raise damaged
            unit = (unit[0], unit[1])
        return cls(**{**found, "unit_size": unit})


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

    Args:
        usual: options of the weights' record; None takes denoising with its own noise.
        task: the name that was given, or None; the others likewise.

    Raises:
        UnknownNameError: if there is no such task.
        UsageError: if an option does not belong to the task.
    """
    if task is not None and physics is not None and task != OWN:
        raise UsageError("--task and --physics exclude each other; give one of them.")
    name = task or (OWN if physics is not None else usual.task if usual else "denoise")
    if usual is None or usual.task != name:
        return TaskOptions(name, noise, mask, kernel, physics, angles)
    given: dict[str, Any] = {
        "noise": noise,
        "mask": mask,
        "kernel": kernel,
        "physics": physics,
        "angles": angles,
    }
    return replace(usual, **{key: value for key, value in given.items() if value is not None})


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
    mask: str | None,
    kernel: str | None,
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
