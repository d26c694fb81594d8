"""equipoise models, and equipoise reconstruct with weights that ship."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import Run, save_weights
from skimage.io import imread, imsave

from equipoise.metrics import psnr
from equipoise.problems import photographs
from equipoise.shipped import DEFAULT, Card, names, shipped
from equipoise.shipped.default import COLOUR
from equipoise.shipped.models import weights_file


def noisy(path: Path, sigma: float, side: int = 96, colour: bool = False) -> torch.Tensor:
    """Write a noisy photograph of eight bits; return the truth."""
    truth = photographs(colour=colour, crop=side).test["astronaut"]
    y = truth + sigma * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    pixels = (y.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).squeeze(-1)
    imsave(path, pixels.numpy(), check_contrast=False)
    return truth


def decibels(path: Path, truth: torch.Tensor) -> float:
    pixels = torch.from_numpy(imread(path)).float() / 255
    image = pixels[None] if pixels.dim() == 2 else pixels.movedim(-1, 0)
    return float(psnr(image[None], truth[None]))


def test_all_are_listed(run: Run) -> None:
    result = run("models")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in names())
    assert run("models", "list").stdout == result.stdout
    assert run("models", "list", DEFAULT).exit_code == 2


def test_a_card_is_shown(run: Run) -> None:
    result = run("models", "show", DEFAULT)
    _, card = shipped(DEFAULT)
    assert result.exit_code == 0
    for words in (card.guarantee, card.terms, card.licence, card.command, "PROVED"):
        assert words in result.stdout
    nameless, unknown = run("models", "show"), run("models", "show", "wcrr-grey")
    assert (nameless.exit_code, unknown.exit_code) == (2, 2)
    assert DEFAULT in nameless.stderr
    assert "Unknown pretrained regularizer 'wcrr-grey'" in unknown.stderr


def test_what_is_not_as_said_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = run("models", "verify", DEFAULT)
    assert right.exit_code == 0, right.output
    assert "NOT" not in right.stdout
    regularizer, card = shipped(DEFAULT)

    def better(name: str) -> tuple[object, Card]:
        results = tuple(r.model_copy(update={"psnr": r.psnr + 0.06}) for r in card.results)
        return regularizer, card.model_copy(update={"results": results})

    monkeypatch.setattr("equipoise.shipped.checking.shipped", better)
    wrong = run("models", "verify", DEFAULT)
    assert wrong.exit_code == 3
    assert "NOT AS SAID" in wrong.stdout
    assert DEFAULT in wrong.stderr


@pytest.mark.parametrize(("sigma", "colour"), [(0.03, False), (0.12, False), (0.08, True)])
def test_a_noisy_picture_needs_no_options(
    run: Run, tmp_path: Path, sigma: float, colour: bool
) -> None:
    truth = noisy(tmp_path / "photo.png", sigma, colour=colour)
    result = run("reconstruct", tmp_path / "photo.png")
    assert result.exit_code == 0, result.output
    said = float(result.stdout.partition("Noise estimated at ")[2].split()[0])
    assert said == pytest.approx(255 * sigma, rel=0.35)
    before = decibels(tmp_path / "photo.png", truth)
    assert decibels(tmp_path / "photo_restored.png", truth) > before + (3 if sigma > 0.05 else 1)


def test_colour_photographs_get_the_colour_weights(run: Run, tmp_path: Path) -> None:
    """In one folder with gray ones, and unless weights are named."""
    noisy(tmp_path / "gray.png", 0.1)
    noisy(tmp_path / "colour.png", 0.1, colour=True)
    files = tmp_path / "gray.png", tmp_path / "colour.png"
    results = {}
    for name in (None, DEFAULT, COLOUR):
        words = () if name is None else ("--regularizer", name)
        result = run("reconstruct", *files, "--noise", 0.1, "--overwrite", *words)
        if name == COLOUR:  # it sees three channels at once
            assert result.exit_code == 3
            assert "gray.png" in result.stderr
            result = run("reconstruct", files[1], "--noise", 0.1, "--overwrite", *words)
        assert result.exit_code == 0, result.output
        results[name] = [imread(file.with_stem(f"{file.stem}_restored")) for file in files]
    gray, colour = zip(*results.values(), strict=True)
    assert np.array_equal(gray[0], gray[1])
    assert np.array_equal(colour[0], colour[2])
    assert not np.array_equal(colour[0], colour[1])


def test_noise_regularizer_and_strength_can_be_said(run: Run, tmp_path: Path) -> None:
    noisy(tmp_path / "photo.png", 0.1)
    kept = {}
    for label, words in {
        "noise": ("--noise", 25.5, "--data-range", 255),
        "same": ("--noise", 0.1, "--regularizer", DEFAULT),
        "more": ("--noise", 0.2),
        "alpha": ("--noise", 0.1, "--alpha", 3),
    }.items():
        result = run("reconstruct", tmp_path / "photo.png", "--overwrite", *words)
        assert result.exit_code == 0, result.output
        assert "estimated" not in result.stdout
        kept[label] = imread(tmp_path / "photo_restored.png").astype(float)
    spread = {label: float(np.abs(np.diff(image)).mean()) for label, image in kept.items()}
    assert np.abs(kept["noise"] - kept["same"]).max() <= 1
    assert spread["more"] < 0.95 * spread["same"]
    assert spread["alpha"] < 0.95 * spread["same"]


def test_each_picture_has_a_noise_of_its_own(run: Run, tmp_path: Path) -> None:
    for name, sigma in (("low", 0.03), ("high", 0.15)):
        noisy(tmp_path / f"{name}.png", sigma)
    together = run("reconstruct", tmp_path / "low.png", tmp_path / "high.png")
    assert together.exit_code == 0, together.output
    assert together.stdout.count("Noise estimated at") == 2
    first = imread(tmp_path / "high_restored.png")
    assert run("reconstruct", tmp_path / "high.png", "--overwrite").exit_code == 0
    assert np.array_equal(first, imread(tmp_path / "high_restored.png"))


def test_where_noise_cannot_be_estimated_it_is_said(run: Run, tmp_path: Path) -> None:
    noisy(tmp_path / "tiny.png", 0.1, side=20)
    result = run("reconstruct", tmp_path / "tiny.png")
    assert result.exit_code == 0, result.output
    assert (
        "Noise taken to be 26 (standard deviation): say what it is with --noise." in result.stdout
    )


def test_other_tasks_and_simulations(run: Run, tmp_path: Path) -> None:
    noisy(tmp_path / "photo.png", 0.0, side=64)
    for words in (
        ("--simulate",),
        ("--task", "deblur", "--kernel", "gaussian:1.5", "--noise", 0.01, "--simulate"),
        ("--task", "inpaint", "--mask-fraction", 0.5, "--simulate"),
    ):
        result = run("reconstruct", tmp_path / "photo.png", "--overwrite", *words)
        assert result.exit_code == 0, result.output
        before, after = result.stdout.partition(" s ")[2].split()[0:3:2]
        assert float(after) > float(before) + 1


def test_both_kinds_of_weights_are_refused(run: Run, tmp_path: Path) -> None:
    noisy(tmp_path / "photo.png", 0.1, side=32)
    file = save_weights(tmp_path / "w.safetensors", "denoise")
    result = run("reconstruct", tmp_path / "photo.png", "--weights", file, "--regularizer", DEFAULT)
    assert result.exit_code == 2
    assert "--regularizer" in result.stderr
    unknown = run("reconstruct", tmp_path / "photo.png", "--regularizer", "nothing")
    assert unknown.exit_code == 2
    assert DEFAULT in unknown.stderr


def test_a_folder_is_a_name(run: Run, tmp_path: Path) -> None:
    """With a card it is used as what ships is, without one as a file of the user's."""
    noisy(tmp_path / "photo.png", 0.1, side=32)
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = {}
    shutil.copy(weights_file(DEFAULT), folder / "model.safetensors")
    for name in (DEFAULT, folder):
        result = run("reconstruct", tmp_path / "photo.png", "--overwrite", "--regularizer", name)
        assert result.exit_code == 0, result.output
        assert "Noise taken to be" in result.stdout or "Noise estimated at" in result.stdout
        kept[name] = imread(tmp_path / "photo_restored.png")
    assert np.array_equal(kept[DEFAULT], kept[folder])
    assert run("models", "show", folder).stdout == run("models", "show", DEFAULT).stdout
    save_weights(folder / "model.safetensors", "denoise")
    bare = run("reconstruct", tmp_path / "photo.png", "--overwrite", "--regularizer", folder)
    assert bare.exit_code == 0, bare.output
    assert "Noise" not in bare.stdout
    assert run("models", "show", folder).exit_code == 3
    (folder / "model.safetensors").unlink()
    empty = run("reconstruct", tmp_path / "photo.png", "--overwrite", "--regularizer", folder)
    assert empty.exit_code == 3
    assert "holds no model.safetensors" in " ".join(empty.stderr.split())
