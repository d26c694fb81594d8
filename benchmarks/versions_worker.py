"""Times cases with whatever build of equipoise it finds: a case's name a line in, seconds out.

Only what both builds offer is used here, and nothing of this package.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from deepinv.physics import Denoising, Inpainting
from skimage.io import imread
from torch import Tensor

from equipoise import Equation, EquilibriumReconstructor, build
from equipoise.learn import TrainSettings, fill_bank, make_validation, train
from equipoise.problems import denoise
from equipoise.regularizers import RidgeRegularizer, Scaled
from equipoise.solve import solve

#: Where the photographs and the published weights are.
DATA = Path(os.environ["EQUIPOISE_DATA"])
#: Side of the images, and of patches and how many there are in a training step.
SIDE, PATCH, BATCH = 128, 48, 8
SIGMA = 0.1
#: Training steps, and those of them that are timed: the median of their durations counts.
STEPS, TIMED = 50, 20
#: Evaluations that are timed at once.
EVALUATIONS = 20


def scene(side: int, seed: int) -> Tensor:
    """An image (1, 1, side, side) of smoothed noise, values in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, side // 8, side // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def noise(side: int) -> Tensor:
    return SIGMA * torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(1))


def photograph() -> Tensor:
    """The middle of a photograph, shape (1, 1, SIDE, SIDE)."""
    pixels = torch.from_numpy(imread(DATA / "set12" / "01.png")).float() / 255
    top, left = ((length - SIDE) // 2 for length in pixels.shape)
    return pixels[None, None, top : top + SIDE, left : left + SIDE].contiguous()


def ridge() -> RidgeRegularizer:
    """The published convex ridge."""
    with np.load(DATA / "ridge_weights" / "crr.npz") as file:
        numbers = {key: torch.from_numpy(file[key]).float() for key in file.files}
    filters = [numbers[f"filter{i}"] for i in (1, 2, 3)]
    convexity = float(numbers["weak_convexity"])
    return RidgeRegularizer.from_arrays(filters, numbers["weight"], numbers["slope"], convexity)


def evaluation() -> Callable[[], float]:
    y = photograph() + noise(SIDE)
    equation = Equation(Denoising(), y, ridge())

    def some() -> None:
        for _ in range(EVALUATIONS):
            equation.potential_and_residual(y)

    return timed(some)


def forward(task: str) -> Callable[[], float]:
    x = photograph()
    if task == "denoise":
        physics = Denoising()
    else:
        mask = (torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.7).float()
        physics = Inpainting(x.shape[1:], mask=mask)
    y = physics.A(x + noise(SIDE))
    field = ridge()
    return timed(lambda: solve(Equation(physics, y, field), y).check())


def hypergradient() -> Callable[[], float]:
    x = photograph()
    y = x + noise(SIDE)
    field = ridge()
    model = EquilibriumReconstructor(field, 1.0)

    def differentiated() -> None:
        field.zero_grad()
        (model(y, Denoising()) - x).square().sum().backward()

    return timed(differentiated)


def training(name: str, **changes: object) -> Callable[[], float]:
    """Steps of training an untied pair; the median of their durations."""
    problem = denoise((1, PATCH, PATCH), sigma=SIGMA)
    images = [scene(96, seed)[0] for seed in range(4)]
    bank = fill_bank(problem, images, count=2 * BATCH, size=PATCH, seed=0)
    validation = make_validation(
        problem, images[:1], size=16, seed=3, tolerance=1e-3, max_evaluations=300
    )
    usual = {"steps": STEPS, "batch_size": BATCH, "patch_size": PATCH, "patches": 2 * BATCH}
    settings = TrainSettings(**usual, validate_every=STEPS, **changes)

    def trained() -> float:
        torch.manual_seed(0)
        field = Scaled(build(name, filters=24), strength=0.03)
        ends: list[float] = []
        train(field, bank, validation, settings, on_progress=lambda at: ends.append(at.seconds))
        steps = [after - before for before, after in pairwise(ends)]
        return statistics.median(steps[-TIMED:])

    return trained


def timed(function: Callable[[], object]) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        function()
        return time.perf_counter() - began

    return once


CASES: dict[str, Callable[[], Callable[[], float]]] = {
    "evaluation": evaluation,
    "forward, denoising": lambda: forward("denoise"),
    "forward, inpainting": lambda: forward("inpaint"),
    "hypergradient": hypergradient,
    "source-condition step": lambda: training("untied-conv", mode="source-condition"),
    "Jacobian penalty step": lambda: training(
        "untied-conv", mode="equilibrium", jacobian_penalty=1.0
    ),
}


def main() -> None:
    """Answer until there are no more lines."""
    torch.set_num_threads(1)
    ready: dict[str, Callable[[], float]] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            ready[name] = CASES[name]()
            ready[name]()  # what is found out once is known from here on
        print(ready[name](), flush=True)


if __name__ == "__main__":
    main()
