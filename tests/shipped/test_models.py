"""Weights that ship: they load, denoise, and are what their cards say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from deepinv.physics import Denoising

import equipoise
from equipoise import (
    Equation,
    EquilibriumReconstructor,
    Scaled,
    load_regularizer,
    save_regularizer,
)
from equipoise.errors import UnknownNameError, UsageError, WeightsError
from equipoise.metrics import psnr
from equipoise.problems import photographs
from equipoise.shipped import DEFAULT, denoising_score, models, names, pretrained, shipped, verify
from equipoise.shipped.checking import SET
from equipoise.solve import solve


@pytest.mark.parametrize("name", names())
def test_weights_are_what_their_card_says(name: str) -> None:
    checks = verify(name)
    assert len(checks) > 2
    assert [check.what for check in checks if not check.passed] == []


@pytest.mark.parametrize("name", names())
def test_denoising_has_one_solution_at_every_noise(name: str) -> None:
    """What cards promise: strongly monotone for alpha 1, so that errors are bounded."""
    channels = shipped(name)[1].channels
    y = torch.rand(1, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    for noise in (0.001, 0.02, 0.05, 0.1, 0.3, 1.0):
        equation = Equation(Denoising(), y, pretrained(name, noise))
        assert equation.modulus is not None
        assert equation.modulus.proved
        assert equation.modulus.value > 0.04
        if noise <= 0.3:
            solution = solve(equation, y)
            assert solution.all_converged
            assert solution.error_bound is not None


def test_all_files_together_are_small() -> None:
    folder = models._folder()
    assert 0 < sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
    assert {path.suffix for path in folder.iterdir()} == {".safetensors"}


@pytest.mark.parametrize("name", names())
def test_cards_are_complete(name: str) -> None:
    regularizer, card = shipped(name)
    assert card.name == name
    assert card.parameters == sum(p.numel() for p in regularizer.parameters())
    assert all(getattr(card, field) for field in ("about", "trained_on", "terms", "licence"))
    assert [level.noise for level in card.levels] == sorted(level.noise for level in card.levels)
    assert {result.data for result in card.results} > {SET}
    assert all(result.converged == result.images for result in card.results)
    assert all(result.psnr > result.input_psnr for result in card.results)


def test_a_reconstructor_of_three_lines() -> None:
    truth = photographs(crop=96).test["camera"][None]
    generator = torch.Generator().manual_seed(0)
    for sigma in (0.03, 0.2):
        y = truth + sigma * torch.randn(truth.shape, generator=generator)
        model = EquilibriumReconstructor(equipoise.pretrained(noise=sigma), on_failure="raise")
        with torch.no_grad():
            assert float(psnr(model(y, Denoising()), truth)) > float(psnr(y, truth)) + 3.0


def test_strength_follows_from_the_noise() -> None:
    low, high = pretrained(noise=0.02), pretrained(noise=0.2)
    assert isinstance(low, Scaled)
    assert isinstance(high, Scaled)
    assert low.strength < high.strength
    learned, _ = shipped(DEFAULT)
    found = pretrained()
    assert isinstance(found, Scaled)
    assert (found.strength, found.scale) == (learned.strength, learned.scale)


def test_colour_is_restored_channel_by_channel() -> None:
    x = photographs(colour=True, crop=32).test["coffee"]
    regularizer = pretrained(noise=0.1)
    with torch.no_grad():
        whole = regularizer.field(x[None])
        parts = [regularizer.field(x[None, k : k + 1]) for k in range(3)]
    torch.testing.assert_close(whole, torch.cat(parts, 1), rtol=1e-4, atol=1e-6)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=DEFAULT):
        pretrained(DEFAULT + "s")
    with pytest.raises(UsageError, match="positive"):
        pretrained(noise=0.0)
    with pytest.raises(UsageError, match="number"):
        pretrained(noise=True)


def test_a_file_without_a_card_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regularizer, _ = load_regularizer(models.weights_file(DEFAULT))
    save_regularizer(tmp_path / "bare.safetensors", regularizer, {})
    monkeypatch.setattr(models, "_folder", lambda: tmp_path)
    assert names() == ["bare"]
    with pytest.raises(WeightsError, match="no card"):
        shipped("bare")


def test_the_score_is_that_of_the_literature() -> None:
    """Noise of one generator, image by image; means; no clipping."""
    images = {name: x[:, :40, :48] for name, x in list(photographs(crop=64).test.items())[:2]}
    regularizer, seen = pretrained(noise=0.1), []
    score = denoising_score(regularizer, images, 0.1, tolerance=1e-4, seen=seen.append)
    generator = torch.Generator().manual_seed(0)
    model = EquilibriumReconstructor(regularizer)
    for found, (name, truth) in zip(score.images, images.items(), strict=True):
        y = truth + 0.1 * torch.randn(1, *truth.shape, generator=generator)
        assert found.name == name
        assert found.input_psnr == pytest.approx(float(psnr(y, truth[None])), abs=1e-4)
        with torch.no_grad():
            restored = float(psnr(model(y, Denoising()), truth[None]))
        assert found.psnr == pytest.approx(restored, abs=0.02)
    assert tuple(seen) == score.images
    assert score.converged == 2
    assert score.psnr == pytest.approx(sum(image.psnr for image in score.images) / 2)
    assert score.psnr > score.input_psnr + 3
