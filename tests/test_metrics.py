"""PSNR and SSIM against scikit-image and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from equipoise.metrics import bound_per_pixel, mean_psnr, pooled_psnr, psnr, ssim


def pair(size: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 1, size, size, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 1, size, size, generator=generator, dtype=torch.float64)
    return truth + 0.08 * noise, truth


def test_psnr_is_the_textbook_formula_without_clipping() -> None:
    x, truth = pair()
    assert float(x.max()) > 1.0  # clipping would change the number
    for k, value in enumerate(psnr(x, truth).tolist()):
        expected = peak_signal_noise_ratio(truth[k].numpy(), x[k].numpy(), data_range=1.0)
        assert value == pytest.approx(expected, rel=1e-12)


def test_pooled_psnr_is_that_of_one_large_image() -> None:
    generator = torch.Generator().manual_seed(1)
    truth = torch.rand(3, 1, 6, 6, generator=generator, dtype=torch.float64)
    x = truth + torch.tensor([1e-6, 0.1, 0.1], dtype=torch.float64).view(-1, 1, 1, 1)
    assert pooled_psnr(x, truth) == pytest.approx(-10 * math.log10(0.02 / 3), rel=1e-9)
    assert mean_psnr(x, truth) == pytest.approx((120 + 20 + 20) / 3, rel=1e-9)


def test_ssim_agrees_with_another_implementation_and_stays_in_its_range() -> None:
    line = torch.linspace(0, 0.4, 32, dtype=torch.float64)
    truth = (0.4 + line[:, None] - 0.5 * line[None])[None, None].repeat(2, 3, 1, 1)
    truth[0, :, 5:15, 8:24], truth[1, 1:, 12:28, 3:12] = 0.9, 0.2
    generator = torch.Generator().manual_seed(0)
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    _, everywhere = structural_similarity_index_measure(
        noisy, truth, data_range=1.0, return_full_image=True
    )
    expected = float(everywhere[..., 5:-5, 5:-5].mean())
    found = float(ssim(noisy, truth))
    assert found == pytest.approx(expected, abs=1e-7)
    assert float(ssim(truth, truth)) == pytest.approx(1.0, abs=1e-12)
    assert -1.0 <= float(ssim(1.0 - truth, truth)) < found < 1.0


def test_a_flat_image_is_like_itself_in_float32_too() -> None:
    flat = torch.full((1, 1, 16, 16), 0.7)
    assert float(ssim(flat, flat)) == 1.0


def test_no_ssim_where_the_window_does_not_fit() -> None:
    assert math.isnan(float(ssim(torch.ones(1, 1, 10, 40), torch.ones(1, 1, 10, 40))))


def test_a_bound_of_the_distance_is_said_per_pixel() -> None:
    x = torch.zeros(1, 3, 10, 10)
    assert bound_per_pixel(None, x) is None
    assert bound_per_pixel(torch.tensor([1.2]), x) == pytest.approx(1.2 / 300**0.5)
    assert bound_per_pixel(torch.tensor([1e6]), x) is None
    assert bound_per_pixel(torch.tensor([torch.nan]), x) is None
