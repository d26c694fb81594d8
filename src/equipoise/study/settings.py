"""Every setting of a study, checked once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from equipoise.errors import UnknownNameError, UsageError
from equipoise.settings.setting import PROBLEM, SOLVING, Data, Seed, Settings, Shown
from equipoise.settings.task import Task

#: Physics that are built in.
PHYSICS = ("inpaint", "blur", "sparse-view", "limited-angle")
#: Word for the physics of a task, as a rule the one that the weights were trained for.
OWN = "own"
#: Regularisers that are built in.
REGULARIZERS = ("tikhonov", "crr", "contractive", "network")
#: Word for the regulariser of the weights file.
LOADED = "weights"


class StudySettings(Settings):
    """On what a study runs and how much of it."""

    physics: Annotated[
        tuple[str, ...] | None,
        Shown("A,B", PROBLEM, default="all four; with --weights or --task its own"),
    ] = Field(None, description=f"Any of {', '.join(PHYSICS)}; or MODULE:FUNCTION, your own.")
    regularizers: Annotated[
        tuple[str, ...] | None,
        Shown(
            "A,B",
            PROBLEM,
            name="regularizer",
            default="those of the study; with --weights that one",
        ),
    ] = Field(None, description=f"Any of {', '.join(REGULARIZERS)} (built in), {LOADED}.")
    weights: Annotated[str | None, Shown("FILE.safetensors", PROBLEM)] = None
    """What 'equipoise train' wrote: your R, and the problem it was trained for."""
    task: Task | None = None
    """The problem of the physics ``own``."""
    data: Data = None
    size: Annotated[int, Shown("PIXELS", SOLVING)] = Field(32, ge=8)
    """Side of the images. Up to 48 tomographs are decomposed exactly."""
    noise_levels: Annotated[
        tuple[float, ...] | None, Shown("A,B", SOLVING, default="those of the study")
    ] = None
    """Norms of the noise relative to the data, for example 0.1,0.01,0.001."""
    repeats: Annotated[int, Shown("N", SOLVING)] = Field(3, ge=2)
    """Noise draws (or restarts) of each image."""
    seed: Seed = 0
    tolerance: float = Field(1e-6, gt=0)
    """Residual of every solve relative to its scale and to alpha: where A sees nothing, all of E is
    ``alpha R``."""
    max_evaluations: Annotated[int, Shown("N", SOLVING)] = Field(5000, ge=1)
    """Limit of evaluations of the equation in each solve."""

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
            if name in (*REGULARIZERS, LOADED):
                continue
            from equipoise.shipped import names  # with it comes PyTorch, which --help does without

            known = (*REGULARIZERS, *names())
            if name not in known:
                raise UnknownNameError("regularizer of a study", name, known)
        levels = self.noise_levels
        if levels is not None and (not levels or not all(0 < level < 1 for level in levels)):
            raise UsageError(
                f"Noise levels are relative to the data, between 0 and 1; got {list(levels)}."
            )
        return self
