"""What everybody has: the first guess, total variation, wavelets, Wiener's filter, each tuned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from deepinv.optim import FISTA, L2, WaveletPrior
from torch import Tensor

from equipoise.equation import Equation
from equipoise.learn import Validation
from equipoise.metrics import psnr
from equipoise.problems import Problem
from equipoise.regularizers import Regularizer, build
from equipoise.solve import solve

TOLERANCE, EVALUATIONS = 2e-4, 2000
#: Steps of FISTA, and strengths that wavelets and Wiener's filter are tried with.
STEPS = 200
WAVELETS = tuple(10.0 ** (k / 4) for k in range(-16, -5))
#: What deepinv 0.5.0 multiplies the strength of wavelets by in their proximal map.
THRESHOLD = 0.1
WIENER = tuple(10.0 ** (k / 2) for k in range(-8, 2))


@dataclass(frozen=True)
class Restored:
    """One reconstruction: images, whether they converged, evaluations."""

    x: Tensor
    converged: bool = True
    evaluations: int = 1


@dataclass(frozen=True)
class Chosen:
    """A method whose numbers were chosen.

    Args:
        restore: from problem and measurements.
        numbers: what was chosen.
    """

    restore: Callable[[Problem, Tensor], Restored]
    numbers: dict[str, float] = field(default_factory=dict)


def start(problem: Problem, validation: Validation) -> Chosen:
    """The first guess: filtered back-projection, local means of known pixels, t A^T y."""
    return Chosen(lambda problem, y: Restored(problem.start(y)))


def total_variation(problem: Problem, validation: Validation) -> Chosen:
    """Smoothed total variation."""
    regularizer = build("tv")
    tuned = validation.tune(regularizer, tolerance=1e-3, max_evaluations=EVALUATIONS)
    return Chosen(partial(_variational, regularizer, tuned.alpha), {"alpha": tuned.alpha})


def _variational(regularizer: Regularizer, alpha: float, problem: Problem, y: Tensor) -> Restored:
    equation = Equation(problem.physics, y, regularizer, alpha)
    solution = solve(equation, problem.start(y), tolerance=TOLERANCE, max_evaluations=EVALUATIONS)
    return Restored(solution.x, bool(solution.all_converged), int(solution.evaluations.max()))


def wavelets(problem: Problem, validation: Validation) -> Chosen:
    """Sparse wavelets, a dictionary of three orthonormal bases, by deepinv's FISTA."""
    return _best(_sparse, WAVELETS, validation)


def _sparse(strength: float, problem: Problem, y: Tensor) -> Restored:
    x = problem.start(y)
    norm = float(problem.physics.compute_sqnorm(x[:1], verbose=False))
    model: Any = FISTA(
        data_fidelity=L2(),
        prior=WaveletPrior(level=3, wv=["haar", "db4", "db8"], mode="periodic"),
        lambda_reg=strength / THRESHOLD,
        stepsize=0.95 / max(norm, 1e-6),
        max_iter=STEPS,
        early_stop=True,
        thres_conv=1e-5,
    )
    return Restored(model(y, problem.physics, init=(x, x)), evaluations=STEPS)


def wiener(problem: Problem, validation: Validation) -> Chosen:
    """Wiener's filter for circular blurs, the spectrum of images taken to be flat."""
    return _best(_filtered, WIENER, validation)


def _filtered(share: float, problem: Problem, y: Tensor) -> Restored:
    impulse = torch.zeros_like(y[:1])
    impulse[..., 0, 0] = 1.0
    response = torch.fft.fft2(problem.physics.A(impulse))
    power = response.abs().square()
    inverse = response.conj() / (power + share)
    return Restored(torch.fft.ifft2(inverse * torch.fft.fft2(y)).real)


def _best(
    restore: Callable[[float, Problem, Tensor], Restored],
    strengths: Iterable[float],
    validation: Validation,
) -> Chosen:
    """The strength with the best mean PSNR."""

    def score(strength: float) -> float:
        restored = restore(strength, validation.problem, validation.y)
        return float(psnr(restored.x, validation.truth).mean())

    best = max(strengths, key=score)
    return Chosen(partial(restore, best), {"strength": best})


RIVALS: dict[str, Callable[[Problem, Validation], Chosen]] = {
    "start": start,
    "tv": total_variation,
    "wavelets": wavelets,
    "wiener": wiener,
}
