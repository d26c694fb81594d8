"""A small, well-conditioned instance that every method solves."""

from __future__ import annotations

import torch

from benchmarks.instances import Instance, of_images
from equipoise.regularizers import RidgeRegularizer


def easy(weak_convexity: float = 0.0, size: int = 12, batch: int = 1) -> Instance:
    """Denoising with a ridge regulariser of two random convolutions, in float32."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    regularizer = RidgeRegularizer.from_arrays(
        [0.2 * normal(3, 1, 3, 3), 0.2 * normal(5, 3, 3, 3)],
        weight=0.2 + normal(5).abs(),
        slope=torch.tensor(4.0, dtype=torch.float64),
        weak_convexity=weak_convexity,
    ).float()
    truth = torch.rand(batch, 1, size, size, generator=generator)
    return of_images("denoise", truth, regularizer, name="random image")
