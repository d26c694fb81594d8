"""Every setting of a study, checked once."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from equipoise.errors import UnknownNameError, UsageError

#: Physics that are built in.
PHYSICS = ("inpaint", "blur", "sparse-view", "limited-angle")
#: Word for the physics of a task, as a rule the one that the weights were trained for.
OWN = "own"
#: Regularisers that are built in.
REGULARIZERS = ("tikhonov", "crr", "contractive", "network")
#: Word for the regulariser of the weights file.
LOADED = "weights"


class StudySettings(BaseModel):
    """On what a study runs and how much of it.

    Args:
        physics: names of :data:`PHYSICS`, ``own`` (that of the weights), or ``module:function``
            of a user's operator; None takes the study's own choice.
        regularizers: names of :data:`REGULARIZERS`, or ``weights``; None likewise.
        weights: weights file of the regulariser ``weights``.
        task: arguments of :func:`equipoise.problems.pose.pose` for the physics ``own``; a kernel
            or mask that is given by content is written down as its description.
        data: folder of images; None takes the embedded photographs and a phantom.
        size: side of the images in pixels.
        noise_levels: norms of the noise relative to the norm of the clean data, falling; None
            takes the study's own.
        repeats: noise draws (or restarts) of each measurement.
        seed: seed of everything random.
        tolerance: residual of every solve relative to its scale and to alpha: where A sees
            nothing, all of E is ``alpha R``.
        max_evaluations: limit of evaluations of every solve.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    physics: tuple[str, ...] | None = None
    regularizers: tuple[str, ...] | None = None
    weights: str | None = None
    task: dict[str, Any] | None = None
    data: str | None = None
    size: int = Field(32, ge=8)
    noise_levels: tuple[float, ...] | None = None
    repeats: int = Field(3, ge=2)
    seed: int = Field(0, ge=0)
    tolerance: float = Field(1e-6, gt=0)
    max_evaluations: int = Field(5000, ge=1)

    @field_serializer("task")
    def _described(self, task: dict[str, Any] | None) -> dict[str, Any] | None:
        return task and {key: getattr(value, "description", value) for key, value in task.items()}

    @model_validator(mode="after")
    def _known_names(self) -> StudySettings:
        for name in self.physics or ():
            if name == OWN and self.task is None:
                raise UsageError("The physics 'own' is that of weights or of a task: give one.")
            if name not in (*PHYSICS, OWN) and ":" not in name:
                raise UnknownNameError("physics", name, PHYSICS)
        for name in self.regularizers or ():
            if name == LOADED and self.weights is None:
                raise UsageError("The regularizer 'weights' needs a file: give --weights.")
            if name not in (*REGULARIZERS, LOADED):
                raise UnknownNameError("regularizer of a study", name, REGULARIZERS)
        levels = self.noise_levels
        if levels is not None and (not levels or not all(0 < level < 1 for level in levels)):
            raise UsageError(
                f"Noise levels are relative to the data, between 0 and 1; got {list(levels)}."
            )
        return self
