"""Small images for comparisons."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.learn import Validation, make_validation
from equipoise.problems import denoise


def scene(side: int, seed: int) -> Tensor:
    """Rectangles on a ramp, shape (1, side, side), values in [0, 1], float64."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.linspace(0, 0.4, side, dtype=torch.float64)
    image = 0.3 + line[:, None] - 0.5 * line[None]
    for _ in range(5):
        top, left = (int(v) for v in torch.randint(side - 5, (2,), generator=generator))
        h, w = (int(v) for v in torch.randint(5, side // 2, (2,), generator=generator))
        shade = torch.rand((), generator=generator, dtype=torch.float64)
        image[top : top + h, left : left + w] = shade
    return image[None].clamp(0, 1)


def noisy(sigma: float = 0.1, side: int = 20, dtype: torch.dtype = torch.float64) -> Validation:
    """Two noisy scenes."""
    images = [scene(side, seed).to(dtype) for seed in (1, 2)]
    problem = denoise((1, side, side), sigma=sigma, dtype=dtype)
    return make_validation(problem, images, size=side, seed=0, tolerance=1e-6)
