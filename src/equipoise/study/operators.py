"""The physics of a study, by name, in float64."""

from __future__ import annotations

import torch
from deepinv.physics import LinearPhysics

from equipoise.errors import UnknownNameError
from equipoise.problems import deblur, from_physics, inpaint, load_user_physics
from equipoise.problems.kernels import kernel_from_tensor
from equipoise.problems.pose import pose
from equipoise.problems.tomography import tomography
from equipoise.study.matrix import MatrixPhysics
from equipoise.study.settings import OWN, PHYSICS, StudySettings

#: Directions of both tomographs relative to the side of the image, and the range of the limited
#: one: too few to see every image.
SPARSE, LIMITED = 0.35, "0-120"
#: Pixels up to which a tomograph becomes a matrix with its singular value decomposition.
MATRIX_PIXELS = 48 * 48
#: Standard deviation of the blur in pixels. Its singular values ``exp(-c |k|^2)`` at frequency k
#: fall from 1 to 2e-10, evenly on a logarithmic scale in two dimensions: no kernel, no gap.
BLUR = 1.5


def operator_by_name(
    name: str, shape: tuple[int, ...], settings: StudySettings
) -> tuple[LinearPhysics, str]:
    """Build a physics for images of one shape, and say what it is in one sentence.

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
        problem = pose(settings.task, shape, seed=settings.seed, dtype=dtype)
    elif name == "inpaint":
        problem = inpaint(shape, 0.5, sigma=0.0, seed=settings.seed, dtype=dtype)
    elif name == "blur":
        problem = deblur(shape, kernel_from_tensor(_gaussian(shape)), sigma=0.0, dtype=dtype)
        words = f"Deconvolution: circular Gaussian blur of standard deviation {BLUR:g} pixels."
        return problem.physics, words
    elif name in ("sparse-view", "limited-angle"):
        count = max(3, round(SPARSE * shape[-1]))
        angles = f"{count}" if name == "sparse-view" else f"{count}:{LIMITED}"
        problem = tomography(shape, angles, sigma=0.0, dtype=dtype)
    elif ":" in name:
        factory = load_user_physics(name)
        problem = from_physics(factory, shape, name=name.rpartition(":")[2], dtype=dtype)
    else:
        raise UnknownNameError("physics", name, PHYSICS)
    size = (problem.image_shape[-2], problem.image_shape[-1])
    if problem.name == "tomography" and size[0] * size[1] <= MATRIX_PIXELS:
        return MatrixPhysics(problem.physics, size, dtype), problem.description
    return problem.physics, problem.description


def _gaussian(shape: tuple[int, ...]) -> torch.Tensor:
    """A Gaussian kernel as wide as the image: cut off at four deviations, as usual, its spectrum
    would end at 1e-4 instead of decaying on."""
    side = min(shape[-2:])
    radius = (side - 1) // 2
    t = torch.arange(-radius, radius + 1, dtype=torch.float64)
    line = torch.exp(-(t**2) / (2 * BLUR**2))
    values = line[:, None] * line[None, :]
    return values / values.sum()
