"""Small images, weights, and a runner for the command line's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hurry import hurry
from programs import Run, pattern, save_weights
from typer.testing import CliRunner, Result

from equipoise.cli.app import app


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program in this process, on wide lines."""
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="equipoise")

    return invoke


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No search for strengths, no certificates of rows, no drawing: other tests do these."""
    hurry(monkeypatch.setattr)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four small gray images."""
    folder = tmp_path_factory.mktemp("photos")
    for k in range(4):
        values = np.rint(255 * pattern(40, shift=k)).astype(np.uint8)
        PIL.Image.fromarray(values).save(folder / f"scene{k}.png")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tied pair, recorded as one for denoising with noise 0.05."""
    return save_weights(tmp_path_factory.mktemp("weights") / "tied.safetensors", "denoise")
