"""Every setting of a comparison, checked once."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_serializer, model_validator

from equipoise.compare.methods import CANDIDATES, METHODS, specs
from equipoise.settings.setting import LEARNING, Data, Device, Shown, ValidationCrop
from equipoise.settings.task import USUAL_TASKS, Task
from equipoise.settings.training import LearningSettings


class CompareSettings(LearningSettings):
    """What is compared, on what, and how long each method may learn."""

    tasks: tuple[Task, ...] = tuple(Task(name=name) for name in USUAL_TASKS)
    """The problems, each with its options."""
    data: Data = None
    methods: Annotated[tuple[str, ...], Shown("A,B", LEARNING)] = Field(
        METHODS[:4], description=f"Any of {', '.join(METHODS)}."
    )
    regularizers: Annotated[
        tuple[str, ...] | None,
        Shown("A,B", LEARNING, name="regularizer", default="each method's own"),
    ] = Field(
        None, description=f"What every way of learning is applied to: {', '.join(CANDIDATES)}."
    )
    seeds: Annotated[int, Shown("N", LEARNING)] = Field(1, ge=1)
    """Training runs per method (seeds K, K + 1, ...), for the spread of training."""
    crop: Annotated[int, Shown("PIXELS", LEARNING)] = Field(256, ge=16)
    """Side of the test crops."""
    validation_crop: ValidationCrop = 128
    device: Device = "auto"
    tolerance: float = Field(2e-4, gt=0)
    """Relative residual of every test solve."""
    max_evaluations: int = Field(3000, ge=1)
    """Limit of evaluations of every test solve."""

    @model_validator(mode="after")
    def _known_methods(self) -> CompareSettings:
        specs(self.methods, self.regularizers)
        return self

    @field_serializer("tasks")
    def _given(self, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
        """Each task with the options that were given."""
        return [task.model_dump(mode="json", exclude_none=True) for task in tasks]
