"""Estimates of noise, and warnings of data that are not what they are taken for."""

from __future__ import annotations

import pytest
import torch

from equipoise.images.data_range import far_from
from equipoise.problems import photographs, tomography
from equipoise.problems.plausible import (
    NOISE_EXPONENT,
    alpha_for_noise,
    estimated_noise,
    noise_warning,
    odd_ray_sums,
)
from equipoise.settings.data_range import DataRange


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("side", [24, 32, 64, 600])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_is_estimated(side: int, channels: int) -> None:
    for dtype in (torch.float32, torch.float64):
        found = estimated_noise(0.1 * noise(1, channels, side, side).to(dtype))
        assert found == pytest.approx(0.1, rel=0.12)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
def test_noise_of_a_photograph_is_estimated(sigma: float) -> None:
    truth = photographs(crop=128).test["camera"][None].double()
    found = estimated_noise(truth + sigma * noise(*truth.shape))
    assert found == pytest.approx(sigma, rel=0.2)


def test_no_estimate_where_there_is_nothing_to_judge_by() -> None:
    assert estimated_noise(noise(1, 1, 16, 64)) is None
    assert estimated_noise(noise(1, 1, 64)) is None
    assert estimated_noise(torch.ones(1, 1, 32, 32)) == pytest.approx(0.0, abs=1e-6)


def test_noise_near_the_learned_one_is_no_news() -> None:
    assert noise_warning(None, 0.1, 1.0) is None
    assert noise_warning(0.03, 0.01, 1.0) is None  # texture
    assert noise_warning(0.12, 0.1, 1.0) is None
    less, more = noise_warning(0.02, 0.1, 255.0), noise_warning(0.2, 0.1, 1.0)
    assert less is not None
    assert "5.1, but R was learned for 26" in less
    assert "--noise 5.1" in less
    assert more is not None
    assert "leave noise" in more
    assert "deviation 370, but R was learned for 6600" in str(noise_warning(0.0057, 0.1, 65535.0))


def test_alpha_grows_with_the_noise() -> None:
    assert alpha_for_noise(0.5, 0.2, 0.1) == pytest.approx(0.5 * 2**NOISE_EXPONENT)
    assert alpha_for_noise(2.0, 0.1, 0.1) == 2.0


def test_ray_sums_of_another_scale_are_told() -> None:
    problem = tomography((1, 16, 16), 9, dtype=torch.float64)
    y = problem.physics.A(noise(1, 1, 16, 16).sigmoid())
    assert odd_ray_sums(problem, y, 3.0) is None
    for factor in (-5.0, 0.001, 30.0):
        assert "Warning" in str(odd_ray_sums(problem, factor * y, 3.0))


def test_photographs_are_not_far_from_their_range() -> None:
    split = photographs(crop=256)
    for name, image in split.test.items():
        assert far_from(image, DataRange(0, 255)) is None, name
        assert far_from(image / 16, DataRange(0, 65535)) is not None, name
        assert far_from(image * 255, DataRange()) is not None, name


def test_the_sentence_guesses_the_range() -> None:
    ramp = torch.linspace(0, 1, 1000)
    assert "--data-range 255." in str(far_from(255 * ramp, DataRange()))
    assert "--data-range 255." in str(far_from(270 * ramp - 15, DataRange()))  # noise beyond white
    assert "--data-range 4095." in str(far_from(ramp * 4000 / 65535, DataRange(0, 65535)))
    assert "--data-range 4095." in str(far_from(ramp * 4300 / 65535, DataRange(0, 65535)))
    assert "--data-range -981:4095." in str(far_from(4000 * ramp - 1000, DataRange()))
    assert far_from(ramp + 0.2 * noise(1000), DataRange(), noise=0.2) is None
    assert far_from(2 * ramp - 1, DataRange(), learned=(-1.0, 1.0)) is None
