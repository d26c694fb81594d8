"""Held-out photographs: PSNR, and whether every one of them converges."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equipoise.checks import require_positive
from equipoise.conversion import in_double
from equipoise.equation import Equation
from equipoise.learn.strength import Tuned, tune_alpha
from equipoise.metrics import psnr
from equipoise.modes import verb
from equipoise.problems import Problem, centre_crop
from equipoise.regularizers.base import Regularizer
from equipoise.solve import solve


@dataclass
class Validation:
    """Measurements of held-out images of one size with warm-started solves.

    Args:
        problem: the inverse problem at the images' size.
        truth: clean images, shape (N, C, H, W).
        y: their measurements.
        x: latest solutions.
        tolerance: relative residual asked of every image.
        max_evaluations: limit of evaluations per image.
    """

    problem: Problem
    truth: Tensor
    y: Tensor
    x: Tensor
    tolerance: float
    max_evaluations: int

    @verb
    def measure(self, regularizer: Regularizer) -> tuple[float, float]:
        """Mean PSNR in dB (range 1, no clipping) and the share of images that converged."""
        equation = Equation(self.problem.physics, self.y, regularizer)
        solution = solve(
            equation, self.x, tolerance=self.tolerance, max_evaluations=self.max_evaluations
        )
        good = torch.isfinite(solution.x).flatten(1).all(1) & solution.converged
        self.x[good] = solution.x[good]
        return float(psnr(solution.x, self.truth).mean()), float(good.double().mean())

    def tune(self, regularizer: Regularizer, *, tolerance: float, max_evaluations: int) -> Tuned:
        """Maximise the mean PSNR over alpha, from 1; see :func:`tune_alpha`."""
        return tune_alpha(
            regularizer,
            self.problem.physics,
            self.y,
            self.truth,
            self.x,
            tolerance=tolerance,
            max_evaluations=max_evaluations,
        )

    def double(self) -> Validation:
        """The same measurements in float64."""
        problem = self.problem.with_dtype(torch.float64)
        return replace(
            self,
            problem=problem.for_shape(tuple(self.truth.shape[1:])),
            truth=self.truth.double(),
            y=in_double(self.y),
            x=self.x.double(),
        )


@verb
def make_validation(
    problem: Problem,
    images: list[Tensor],
    *,
    size: int,
    seed: int,
    tolerance: float,
    max_evaluations: int = 1000,
) -> Validation:
    """Take the centre crop of each image and measure it once.

    Args:
        problem: the inverse problem at any size.
        images: held-out images (C, H, W).
        size: side of the square crop; cut down to the smallest image.
        seed: seed of the noise.
        tolerance: relative residual asked of every image.
        max_evaluations: limit of evaluations per image.
    """
    require_positive("tolerance", tolerance)
    side = min([size, *(min(image.shape[1:]) for image in images)])
    truth = torch.stack([centre_crop(image, side) for image in images])
    truth = truth.to(device=problem.device, dtype=problem.dtype)
    local = problem.for_shape(tuple(truth.shape[1:]))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        y = local.measure(truth, generator)
        start = local.start(y)
    return Validation(local, truth, y, start, tolerance, max_evaluations)
