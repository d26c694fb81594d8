"""Small training problems in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from equipoise.learn import (
    PatchBank,
    TrainSettings,
    Validation,
    fill_bank,
    make_validation,
)
from equipoise.problems import Problem, deblur, denoise, inpaint
from equipoise.regularizers import Scaled, build
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.two_layer import UntiedRegularizer

SIZE = 10


def scenes(count: int, side: int = 24, seed: int = 0) -> list[Tensor]:
    """Images (1, side, side) of rectangles on a ramp, values in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for _ in range(count):
        slope = torch.rand(2, generator=generator, dtype=torch.float64) * 0.3
        line = torch.linspace(0, 1, side, dtype=torch.float64)
        image = 0.2 + slope[0] * line[:, None] + slope[1] * line[None]
        for _ in range(4):
            top, left = (int(v) for v in torch.randint(side - 4, (2,), generator=generator))
            size = int(torch.randint(4, side // 2, (1,), generator=generator))
            shade = float(torch.rand(1, generator=generator, dtype=torch.float64))
            image[top : top + size, left : left + size] = shade
        images.append(image[None])
    return images


def pose(task: str = "denoise", sigma: float = 0.1) -> Problem:
    """A task in float64."""
    shape, options = (1, SIZE, SIZE), {"sigma": sigma, "dtype": torch.float64}
    if task == "inpaint":
        return inpaint(shape, 0.7, **options)
    if task == "deblur":
        return deblur(shape, "gaussian:0.6", **options)
    return denoise(shape, **options)


def small_bank(problem: Problem | None = None, count: int = 6, seed: int = 0) -> PatchBank:
    problem = pose() if problem is None else problem
    return fill_bank(problem, scenes(3, seed=seed), count=count, size=SIZE, seed=seed)


def small_validation(
    problem: Problem | None = None, *, tolerance: float = 1e-4, max_evaluations: int = 500
) -> Validation:
    return make_validation(
        pose() if problem is None else problem,
        scenes(2, seed=50),
        size=16,
        seed=3,
        tolerance=tolerance,
        max_evaluations=max_evaluations,
    )


def small_field(name: str = "tied-conv", seed: int = 0, **config: Any) -> Scaled:
    """A field with four filters 3 x 3, its weights slightly moved at random; untied: truly so."""
    options = {"filters": 4, "kernel_size": 3, "activation": "tanh", **config}
    inner = build(name, **options).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in inner.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * noise)
    return Scaled(inner, strength=0.03)


def tied_as_untied(tied: Scaled) -> Scaled:
    """The same field as an untied pair with equal sides."""
    inner = tied.regularizer
    untied = build("untied-conv", **{k: v for k, v in inner.config.items() if k != "name"}).double()
    assert isinstance(untied, UntiedRegularizer)
    untied.mean.load_state_dict(inner.operator.state_dict())
    with torch.no_grad():
        assert untied.bias is not None
        untied.bias.copy_(inner.bias)
    return Scaled(untied, tied.strength, tied.scale)


def quick(**changes: Any) -> TrainSettings:
    """Settings of a short run."""
    usual: dict[str, Any] = {
        "steps": 12,
        "batch_size": 3,
        "patch_size": SIZE,
        "patches": 6,
        "learning_rate": 0.1,
        "warmup": 0,
        "validate_every": 4,
        "checkpoint_seconds": 1e-9,
    }
    return TrainSettings(**{**usual, **changes})


def weights(regularizer: Regularizer) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in regularizer.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
