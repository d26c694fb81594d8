"""Searches in one dimension, and the strength that they find."""

from __future__ import annotations

import math

import pytest
import torch
from deepinv.physics import Denoising
from torch import Tensor

from equipoise.learn.strength import STRIDE, climb, golden_section, tune_alpha
from equipoise.metrics import pooled_psnr
from equipoise.regularizers.base import Constants, Regularizer


@pytest.mark.parametrize("top", [-0.7, 0.0, 0.31, 2.4])
def test_golden_section_brackets_a_maximum(top: float) -> None:
    visited: set[float] = set()

    def value(place: float) -> float:
        visited.add(place)
        return -(abs(place - top) ** 1.5)

    low, high = golden_section(value, -1.0, 3.0, 0.01)
    assert low <= top <= high
    assert high - low <= 0.01
    assert len(visited) == 14  # two to start with, one more for each cut by 0.618


def test_golden_section_finds_maxima_at_the_ends() -> None:
    for sign, end in ((1.0, 3.0), (-1.0, -1.0)):
        low, high = golden_section(lambda t, sign=sign: sign * t, -1.0, 3.0, 0.01)
        assert low <= end <= high


@pytest.mark.parametrize("top", [-4.2, -1.0, -0.2, 0.0, 0.2, 2.6])
def test_climb_comes_within_a_stride(top: float) -> None:
    best = climb(lambda t: -((t - top) ** 2), 0.0, STRIDE, 6.0)
    assert abs(best - top) <= STRIDE / 2 + 1e-9


def test_climb_crosses_plateaus_and_single_dips_and_stops_at_its_limit() -> None:
    def terrace(t: float) -> float:
        return 0.0 if t > -1.6 else 1.0 - abs(t + 3.0)

    assert climb(terrace, 0.0, STRIDE, 6.0) == -3.0
    dip = {-0.5: 1.0, -1.0: 0.5, -1.5: 2.0}
    assert climb(lambda t: dip.get(t, 0.0), 0.0, STRIDE, 6.0) == -1.5
    assert climb(lambda t: -t, 0.0, STRIDE, 2.0) == -2.0
    visited: list[float] = []

    def falling(t: float) -> float:
        visited.append(t)
        return -abs(t)

    assert climb(falling, 0.0, STRIDE, 6.0) == 0.0
    assert set(visited) == {0.0, -0.5, -1.0, 0.5, 1.0}


# ---- the strength ------------------------------------------------------------------------------


class Multiple(Regularizer):
    """``R(x) = c x``, so that denoising gives ``y / (1 + alpha c)``."""

    gradient_field = False

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.factor * x


def images(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, 1, 6, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("alpha", [3e-3, 0.2, 40.0])
def test_the_strength_is_found_wherever_the_search_starts(alpha: float) -> None:
    truth = images()
    y = (1 + 2 * alpha) * truth
    for start in (0.1, 1.0, 10.0):
        found = tune_alpha(
            Multiple(2.0), Denoising(), y, truth, y,
            tolerance=1e-9, max_evaluations=300, start=start, width=0.01,
        )  # fmt: skip
        assert abs(math.log10(found.alpha / alpha)) < 0.01
        assert pooled_psnr(found.x, truth) > 20
        assert not found.at_limit


@pytest.mark.parametrize(("pull", "limit"), [(0.0, 1e-6), (1e9, 1e6)])
def test_a_search_that_ends_at_its_limit_says_so(pull: float, limit: float) -> None:
    # Without noise the best strength is 0, for truth 0 it is infinite.
    y = images()
    truth = y / (1 + pull)
    found = tune_alpha(Multiple(1.0), Denoising(), y, truth, y, tolerance=1e-9, max_evaluations=50)
    assert found.at_limit
    assert abs(math.log10(found.alpha / limit)) <= STRIDE + 1e-9


def test_an_optimum_next_to_strengths_that_blow_up_is_one() -> None:
    # PSNR rises up to alpha = 0.99, beyond which nothing is solved.
    truth = images()
    found = tune_alpha(
        Multiple(-1.0), Denoising(), 1e-2 * truth, truth, truth,
        tolerance=1e-9, max_evaluations=200, start=0.5,
    )  # fmt: skip
    assert found.alpha == pytest.approx(0.99, rel=0.05)
    assert not found.at_limit


def test_strengths_that_blow_up_lose() -> None:
    # R = -x: the equation has a solution near the truth for alpha = 1/2, none for alpha = 1, and
    # iterations may diverge beyond.
    truth = images()
    y = 0.5 * truth
    found = tune_alpha(
        Multiple(-1.0), Denoising(), y, truth, y, tolerance=1e-9, max_evaluations=200, start=0.9
    )
    assert math.log10(found.alpha) == pytest.approx(math.log10(0.5), abs=0.04)
    assert torch.isfinite(found.x).all()
