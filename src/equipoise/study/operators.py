"""The physics of a study, by name, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from deepinv.physics import LinearPhysics

from equipoise.errors import UnknownNameError
from equipoise.problems import deblur, from_physics, inpaint, load_user_physics
from equipoise.problems.kernels import kernel_from_tensor
from equipoise.problems.pose import pose
from equipoise.study.settings import OWN, PHYSICS, StudySettings

#: Standard deviation of the blur in pixels. Its singular values fall from 1 to 1e-8 (64 pixels),
#: evenly on a logarithmic scale in two dimensions: ``exp(-c |k|^2)`` at frequency k.
BLUR = 2.0


@dataclass(frozen=True, eq=False)
class Operator:
    """A physics and what to call it."""

    physics: LinearPhysics
    description: str


def operator_by_name(name: str, shape: tuple[int, ...], settings: StudySettings) -> Operator:
    """Build a physics for images of one shape.

    Args:
        name: one of the built-in names, ``own``, or ``module:function``.
        shape: (C, H, W).
        settings: seed of the mask; task of ``own``.

    Raises:
        UnknownNameError: if there is no such physics.
        AdjointError: if the user's adjoint is none.
    """
    dtype = torch.float64
    if name == OWN:
        assert settings.task is not None, "checked by the settings"
        problem = pose(**settings.task, image_shape=shape, seed=settings.seed, dtype=dtype)
    elif name == "inpaint":
        problem = inpaint(shape, 0.5, sigma=0.0, seed=settings.seed, dtype=dtype)
    elif name == "blur":
        return Operator(
            deblur(shape, kernel_from_tensor(_gaussian(shape)), sigma=0.0, dtype=dtype).physics,
            f"Deconvolution: circular Gaussian blur of standard deviation {BLUR:g} pixels.",
        )
    elif ":" in name:
        factory = load_user_physics(name)
        problem = from_physics(factory, shape, name=name.rpartition(":")[2], dtype=dtype)
    else:
        raise UnknownNameError("physics", name, PHYSICS)
    return Operator(problem.physics, problem.description)


def _gaussian(shape: tuple[int, ...]) -> torch.Tensor:
    """A Gaussian kernel as wide as the image: cut off at four deviations, as usual, its spectrum
    would end at 1e-4 instead of decaying on."""
    side = min(shape[-2:])
    radius = (side - 1) // 2
    t = torch.arange(-radius, radius + 1, dtype=torch.float64)
    line = torch.exp(-(t**2) / (2 * BLUR**2))
    values = line[:, None] * line[None, :]
    return values / values.sum()
