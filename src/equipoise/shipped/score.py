"""PSNR of a denoiser on a set of photographs, as tables in the literature have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch
from deepinv.physics import Denoising
from torch import Tensor

from equipoise.equation import Equation
from equipoise.metrics import psnr
from equipoise.modes import verb
from equipoise.regularizers import Regularizer
from equipoise.solve import solve
from equipoise.status import Status


@dataclass(frozen=True)
class Denoised:
    """What came out for one photograph.

    Args:
        name: of the photograph.
        input_psnr: of the noisy image, in dB.
        psnr: of the restored one, in dB.
        evaluations: of the equation.
        status: why the solve ended.
        seconds: that it took.
    """

    name: str
    input_psnr: float
    psnr: float
    evaluations: int
    status: Status
    seconds: float


@dataclass(frozen=True)
class Score:
    """What came out for a set of photographs.

    Args:
        images: one entry each.
    """

    images: tuple[Denoised, ...]

    @property
    def input_psnr(self) -> float:
        """Mean of the noisy images, in dB."""
        return fmean(image.input_psnr for image in self.images)

    @property
    def psnr(self) -> float:
        """Mean of the restored images, in dB."""
        return fmean(image.psnr for image in self.images)

    @property
    def converged(self) -> int:
        """How many solves did."""
        return sum(image.status is Status.CONVERGED for image in self.images)


@verb
@torch.no_grad()
def denoising_score(
    regularizer: Regularizer,
    photographs: Mapping[str, Tensor],
    noise: float,
    *,
    tolerance: float = 2e-4,
    max_evaluations: int = 1000,
    seen: Callable[[Denoised], None] | None = None,
) -> Score:
    """Denoise every photograph and compare with the truth.

    Noise is drawn from ``torch.Generator().manual_seed(0)``, one image after the other in the order
    given; nothing is clipped or quantised, and every image is solved to the tolerance.

    Args:
        regularizer: R; alpha is 1.
        photographs: name -> image of shape (C, H, W), values in [0, 1].
        noise: standard deviation.
        tolerance: relative residual of the solves.
        max_evaluations: limit of evaluations of each.
        seen: told of each image.
    """
    generator = torch.Generator().manual_seed(0)
    like = next(regularizer.parameters(), torch.zeros(()))
    found = []
    for name, image in photographs.items():
        truth = image[None]
        y = truth + noise * torch.randn(truth.shape, generator=generator, dtype=truth.dtype)
        equation = Equation(Denoising(), y.to(like), regularizer)
        solution = solve(
            equation, equation.adjoint_data, tolerance=tolerance, max_evaluations=max_evaluations
        )
        found.append(
            Denoised(
                name,
                float(psnr(y, truth)),
                float(psnr(solution.x.to(truth), truth)),
                int(solution.evaluations),
                solution.statuses[0],
                solution.seconds,
            )
        )
        if seen is not None:
            seen(found[-1])
    return Score(tuple(found))
