"""The problems of the forward table, its sizes and what is required."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from benchmarks.instances import Instance, Task, Weights, instance
from benchmarks.reference import Reference, reference

#: Errors that are asked for, and the one at which a method is ended.
LEVELS, GOAL = (1e-3, 1e-4), 7e-5
#: Residuals, relative to the equation's scale, where errors mean nothing.
RESIDUALS = (1e-4, 1e-5)
#: A peer may take so many times our time to the first level; the longest in seconds.
PATIENCE = 100.0
#: Residual of references relative to the image; for denoising with crr it bounds the error.
TIGHT: dict[str, float] = {"denoise": 2e-6, "inpaint": 3e-8}
TIGHTER = 2e-7


@dataclass(frozen=True)
class Plan:
    """Sizes and limits of a run.

    Args:
        size, small: side of the images; of tomography.
        images: of each task, for counts.
        longest: seconds for an equilibrium model on denoising with crr.
        brief: seconds for any other method of another package.
        own: seconds for a solver of equipoise.
        repeats: timed runs of our solvers.
        twice: whether references without a proved bound are computed from a second start.
    """

    size: int
    small: int
    images: int
    longest: float
    brief: float
    own: float
    repeats: int
    twice: bool


FULL = Plan(size=256, small=128, images=8, longest=150, brief=4, own=30, repeats=3, twice=True)
SHORT = Plan(size=128, small=64, images=2, longest=10, brief=2, own=15, repeats=3, twice=False)


@dataclass(frozen=True)
class Case:
    """A task with one of the published regularisers."""

    task: Task
    weights: Weights

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{NAMES[self.task]}, {self.weights}"

    def instance(self, plan: Plan, index: int) -> Instance:
        """The standard instance of one image."""
        size = plan.small if self.task == "tomography" else plan.size
        return instance(self.task, self.weights, index, size)


NAMES = {
    "denoise": "denoising",
    "inpaint": "inpainting",
    "deblur": "deblurring",
    "tomography": "tomography",
}
MAIN = Case("denoise", "crr")
CASES = (
    MAIN,
    Case("denoise", "wcrr"),
    Case("inpaint", "crr"),
    Case("deblur", "crr"),
    Case("tomography", "crr"),
)
#: (case, level) -> (required, aim) for the median number of evaluations.
REQUIRED: dict[tuple[Case, float], tuple[int, int]] = {
    (MAIN, 1e-3): (25, 19),
    (MAIN, 1e-4): (42, 32),
    (Case("denoise", "wcrr"), 1e-3): (40, 30),
    (Case("denoise", "wcrr"), 1e-4): (58, 45),
    (Case("inpaint", "crr"), 1e-4): (90, 60),
    (Case("deblur", "crr"), 1e-4): (110, 70),
}


def name_of(level: float) -> str:
    """A power of ten as readers write it, ``1e-3``."""
    return f"1e{round(math.log10(level))}"


def solved(one: Instance) -> Reference:
    """The reference of an instance of one image."""
    return reference(one, tolerance_of(one))


def tolerance_of(one: Instance) -> float:
    """Residual, relative to the image, that references of this task have."""
    return TIGHT.get(one.problem.name, TIGHTER)


def apart(one: Instance) -> float:
    """Relative distance of the reference to another one that started at the image 0."""
    other = reference(one, tolerance_of(one), start=torch.zeros_like(one.truth))
    return float(solved(one).error(other.x))
