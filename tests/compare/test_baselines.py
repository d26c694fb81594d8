"""Tuned baselines: closed forms, fine grids, and deepinv's own total variation."""

from __future__ import annotations

import math

import pytest
import torch
from deepinv.models import TVDenoiser
from deepinv.optim import TVPrior
from deepinv.physics import Denoising
from scenery import noisy
from torch import Tensor

from equipoise.compare.methods import specs
from equipoise.compare.run import BASELINE_TOLERANCE
from equipoise.equation import Equation
from equipoise.learn import Validation, make_validation, psnr
from equipoise.problems import deblur, denoise, inpaint
from equipoise.regularizers import Regularizer, build
from equipoise.regularizers.classical import SmoothedTotalVariation
from equipoise.solve import solve
from equipoise.vectors import norm


def baseline(name: str) -> Regularizer:
    (spec,) = specs((name,), None)
    return build(spec.regularizer, **spec.config)


def closed_form(validation: Validation, alpha: float) -> float:
    """Mean PSNR of ``(I + alpha D^T D)^{-1} y`` with a dense matrix."""
    side = validation.truth.shape[-1]
    n = side * side
    units = torch.eye(n, dtype=torch.float64).view(n, 1, side, side)
    gram = baseline("tikhonov").field(units).flatten(1)
    x = torch.linalg.solve(torch.eye(n).double() + alpha * gram, validation.y.flatten(1).T).T
    return float(psnr(x.view_as(validation.truth), validation.truth).mean())


@pytest.mark.parametrize("sigma", [0.002, 0.1, 1.5])
def test_tikhonov_is_tuned_to_the_optimum_of_its_closed_form(sigma: float) -> None:
    # Strengths far below and far above 1: the search goes where it must.
    validation = noisy(sigma, side=12)
    grid = [10.0 ** (k / 20) for k in range(-120, 60)]
    found = validation.tune(
        baseline("tikhonov"), tolerance=BASELINE_TOLERANCE, max_evaluations=3000
    )
    assert found.psnr == pytest.approx(closed_form(validation, found.alpha), abs=2e-3)
    assert found.psnr > max(closed_form(validation, alpha) for alpha in grid) - 0.02
    assert 0.0 <= found.gap < 0.02


def test_total_variation_is_tuned_to_within_a_fiftieth_of_a_decibel() -> None:
    validation, regularizer = noisy(0.1, side=16), baseline("tv")
    found = validation.tune(regularizer, tolerance=BASELINE_TOLERANCE, max_evaluations=3000)
    x, best = validation.x, -math.inf
    for k in range(-40, 41, 4):
        equation = Equation(
            validation.problem.physics, validation.y, regularizer, found.alpha * 10 ** (k / 100)
        )
        solution = solve(equation, x, tolerance=1e-6, max_evaluations=5000)
        assert solution.all_converged
        x, best = solution.x, max(best, float(psnr(solution.x, validation.truth).mean()))
    assert found.psnr > best - 0.02
    assert 0.0 <= found.gap < 0.02
    assert found.psnr > float(psnr(validation.y, validation.truth).mean()) + 1.0
    assert found.solves < 25


def test_very_strong_regularisation_does_not_end_the_search() -> None:
    # On small images total variation at 1 and below gives the same constant.
    validation = noisy(0.02, side=12)
    regularizer = baseline("tv")
    found = validation.tune(regularizer, tolerance=1e-5, max_evaluations=3000)
    assert found.alpha < 0.05
    assert found.psnr > float(psnr(validation.y, validation.truth).mean())


# ---- against deepinv ---------------------------------------------------------------------------


def test_the_baseline_is_what_is_promised() -> None:
    regularizer = baseline("tv")
    assert isinstance(regularizer, SmoothedTotalVariation)
    assert regularizer.epsilon <= 1e-3
    assert BASELINE_TOLERANCE <= 1e-5


@pytest.mark.parametrize("alpha", [0.02, 0.08])
def test_total_variation_agrees_with_deepinv(alpha: float) -> None:
    # deepinv solves the nonsmooth problem. With 0 <= TV - r_eps <= eps per pixel, the smoothed
    # minimiser's true energy exceeds the minimum by at most alpha eps n, and the energy is
    # strongly convex, so that the squared distance is at most twice that. Both gaps are in fact
    # much smaller and fall in proportion to epsilon.
    validation = noisy(0.1)
    y, n = validation.y, validation.y[0].numel()
    sharp = TVDenoiser(tau=0.05, n_it_max=20_000, crit=1e-13)(y, ths=alpha)
    prior = TVPrior()

    def energy(x: Tensor) -> Tensor:
        return 0.5 * norm(x - y).square() + alpha * prior.fn(x)

    distances, gaps = [], []
    for epsilon in (1e-2, 1e-3, 1e-4):
        equation = Equation(Denoising(), y, SmoothedTotalVariation(epsilon), alpha)
        solution = solve(equation, y, tolerance=1e-6, max_evaluations=5000)
        assert solution.all_converged
        gap, distance = energy(solution.x) - energy(sharp), norm(solution.x - sharp)
        assert (gap >= -1e-9).all()
        assert (gap <= alpha * epsilon * n).all()
        assert (distance.square() <= 2 * alpha * epsilon * n).all()
        gaps.append(float((gap / energy(sharp)).max()))
        distances.append(float((distance / norm(sharp)).max()))
        if epsilon == 1e-3:  # the baseline's
            lost = psnr(sharp, validation.truth) - psnr(solution.x, validation.truth)
            assert lost.abs().max() < 0.05
    assert gaps[1] < 1e-3
    assert distances[1] < 4e-3
    assert distances[2] < 0.3 * distances[1] < 0.1 * distances[0]
    assert gaps[2] < 0.2 * gaps[1] < 0.04 * gaps[0]


def test_values_and_fields_agree_with_deepinv_where_nothing_is_flat() -> None:
    ours, theirs = SmoothedTotalVariation(1e-9), TVPrior()
    x = noisy(0.3).y
    torch.testing.assert_close(ours.potential(x), theirs.fn(x), rtol=1e-7, atol=0.0)
    torch.testing.assert_close(ours.field(x), theirs.grad(x), rtol=0.0, atol=1e-6)


# ---- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        denoise((1, 20, 20)),
        inpaint((1, 20, 20), 0.5, seed=3),
        deblur((1, 20, 20), "motion:5:30"),
    ],
    ids=["denoise", "inpaint", "deblur"],
)
def test_float64_validation_has_the_same_measurements_and_operator(problem: object) -> None:
    images = [noisy(dtype=torch.float32).truth[0]]
    single = make_validation(problem, images, size=20, seed=0, tolerance=1e-4)
    double = single.double()
    assert torch.equal(double.y, single.y.double())
    assert torch.equal(double.truth, single.truth.double())
    assert double.x.dtype is torch.float64
    seen = double.problem.physics.A(double.truth)
    assert seen.dtype is torch.float64
    torch.testing.assert_close(
        seen, single.problem.physics.A(single.truth).double(), rtol=0, atol=1e-6
    )
