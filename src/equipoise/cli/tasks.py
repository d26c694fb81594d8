"""Which inverse problem a user means: options, checked and completed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from equipoise.errors import UnknownNameError, UsageError, WeightsError
from equipoise.problems import Problem
from equipoise.problems.pose import OWN, TASKS, pose
from equipoise.problems.tasks import Padding


@dataclass(frozen=True)
class TaskOptions:
    """One inverse problem as users name it; goes into weights files.

    Args:
        task: denoise, inpaint, deblur, or physics.
        noise: standard deviation of the noise; None is the task's own.
        mask: share of known pixels, ``rows:0.5``, or a mask image; None is the task's own.
        kernel: ``motion:9``, ``gaussian:1.5``, or an image; None is the task's own.
        physics: ``module:function`` of a user's operator.
    """

    task: str
    noise: float | None = None
    mask: str | None = None
    kernel: str | None = None
    physics: str | None = None

    def __post_init__(self) -> None:
        check_options((self.task,), self.mask, self.kernel, self.physics)

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
        known = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or "task" not in found or not set(found) <= known:
            raise WeightsError(
                "The task in the weights' record is damaged; name it with --task and its options."
            )
        return cls(**found)


def choose_task(
    usual: TaskOptions | None,
    *,
    task: str | None,
    noise: float | None,
    mask: str | None,
    kernel: str | None,
    physics: str | None,
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
        return TaskOptions(name, noise, mask, kernel, physics)
    given: dict[str, Any] = {"noise": noise, "mask": mask, "kernel": kernel, "physics": physics}
    return replace(usual, **{key: value for key, value in given.items() if value is not None})


def compared_tasks(
    tasks: tuple[str, ...] | None, mask: str | None, kernel: str | None, physics: str | None
) -> tuple[str, ...]:
    """The tasks of a comparison; all three if none is named.

    Raises:
        UnknownNameError: if there is no such task.
        UsageError: if an option belongs to none of them.
    """
    if physics is not None and tasks not in (None, (OWN,)):
        raise UsageError("--task and --physics exclude each other; give one of them.")
    if physics is not None:
        chosen: tuple[str, ...] = (OWN,)
    else:
        chosen = TASKS if tasks is None or "all" in tasks else tasks
    check_options(chosen, mask, kernel, physics)
    return chosen


def check_options(
    tasks: tuple[str, ...], mask: str | None, kernel: str | None, physics: str | None
) -> None:
    """Refuse unknown tasks and options that belong to none of the tasks.

    Raises:
        UnknownNameError: if there is no such task.
        UsageError: if an option would be without effect, or the operator is missing.
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
