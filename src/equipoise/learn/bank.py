"""A fixed bank of training patches: one measurement each, and where their solves stood last."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.problems import Problem, sample_patches


@dataclass
class PatchBank:
    """Patches with their measurements and warm starts.

    Args:
        problem: the inverse problem at patch size.
        truth: clean patches, shape (N, C, s, s).
        y: one stored measurement of each, shape (N, ...).
        x: latest lower-level solution of each (at first the problem's starting point).
        q: latest adjoint solution of each (at first zero).
        direction: direction in which each patch's equation was found least monotone.
    """

    problem: Problem
    truth: Tensor
    y: Tensor
    x: Tensor
    q: Tensor
    direction: Tensor

    @property
    def physics(self) -> LinearPhysics:
        """The physics at patch size, the same for every patch."""
        return self.problem.physics

    def __len__(self) -> int:
        return len(self.truth)

    def warm_starts(self) -> dict[str, Tensor]:
        """The tensors that change while training, for a checkpoint."""
        return {"x": self.x, "q": self.q, "direction": self.direction}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the tensors of :meth:`warm_starts` back."""
        for name, tensor in tensors.items():
            getattr(self, name).copy_(tensor)


def fill_bank(
    problem: Problem, images: list[Tensor], *, count: int, size: int, seed: int
) -> PatchBank:
    """Cut patches (with random flips and rotations), measure each once, set up warm starts.

    The augmentation is applied before the measurement, so that it is valid for any physics.

    Args:
        problem: the inverse problem at any image size.
        images: training images (C, H, W), at least ``size`` in each direction.
        count: number of patches.
        size: side of a patch in pixels.
        seed: seed of positions, flips and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    device = problem.device
    truth = sample_patches(images, count=count, size=size, generator=generator)
    truth = truth.to(device=device, dtype=problem.dtype)
    local = problem.for_shape(tuple(truth.shape[1:]))
    with torch.no_grad():
        y = local.measure(truth, generator)
        start = local.start(y)
    noise = torch.randn(start.shape, generator=generator, dtype=torch.float64).to(start)
    return PatchBank(local, truth, y, start, torch.zeros_like(start), noise)
