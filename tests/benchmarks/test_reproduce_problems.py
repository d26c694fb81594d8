"""From denoising to other problems, with tiny images and few steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.reproduce import problems, rivals
from equipoise.learn import Validation, make_validation
from equipoise.problems import photographs
from equipoise.shipped import shipped


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs to choose by and to score, and short searches."""
    cut = [image[:, 100:140, 100:140] for image in photographs().val[:2]]

    def images(role: str) -> Mapping[str, Tensor]:
        return {f"{role}{index}": image for index, image in enumerate(cut)}

    search = {"steps": 4, "patches": 4, "patch_size": 24, "batch_size": 2, "validate_every": 2}
    for name, value in (
        ("images", images),
        ("CHOICE", 32),
        ("SCORED", 32),
        ("FEW", 1),
        ("RECORDS", tmp_path),
        ("SHIPPED", ("crr-gray",)),
        ("SEARCH", problems.SEARCH.model_copy(update=search)),
    ):
        monkeypatch.setattr(problems, name, value)
    monkeypatch.setattr(rivals, "STEPS", 100)
    return tmp_path


def test_all_methods_are_scored_on_a_problem(small: Path) -> None:
    pytest.importorskip("ptwt")
    assert problems.main(["choose", "--only", "deblur-gaussian-0.01"]) == 0
    record = json.loads((small / "problem-deblur-gaussian-0.01-choose.json").read_text())
    methods = record["methods"]
    assert set(methods) == {"crr-gray", "start", "tv", "wavelets", "wiener"}
    assert record["images"] == ["choose0", "choose1"]
    assert all(row["converged"] == 2 for row in methods.values())
    for name in set(methods) - {"start"}:
        assert methods[name]["psnr"] > methods["start"]["psnr"] + 0.5, name
    assert set(methods["crr-gray"]["chosen"]) == {"strength", "scale"}


def test_slow_problems_are_scored_on_few_images_and_complex_ones_by_their_real_part(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(problems.RIVALS, "wavelets", rivals.start)
    assert problems.main(["choose", "--only", "mri-4"]) == 0
    record = json.loads((small / "problem-mri-4-choose.json").read_text())
    assert record["images"] == ["choose0"]
    assert record["methods"]["tv"]["psnr"] > record["methods"]["start"]["psnr"]


def test_strength_and_scale_alone_are_learned(small: Path) -> None:
    posed = problems.PROBLEMS["inpaint-50"]
    problem, validation = posed.make((1, 32, 32)), held_out("inpaint-50")
    chosen = problems.learned("crr-gray", problem, list(validation.truth), validation)
    field = chosen.restore.args[0]  # type: ignore[attr-defined]
    known, card = shipped("crr-gray")
    assert chosen.numbers == {"strength": field.strength, "scale": field.scale}
    assert chosen.numbers["strength"] != pytest.approx(card.scales(0.02)[0], rel=1e-3)
    for now, before in zip(
        field.regularizer.parameters(), known.regularizer.parameters(), strict=True
    ):
        assert torch.equal(now, before)


def test_wiener_inverts_a_blur_without_noise(small: Path) -> None:
    validation = held_out("deblur-gaussian-0.01")
    problem, truth = validation.problem, validation.truth
    with torch.no_grad():
        y = problem.physics.A(truth)
    restored = rivals._filtered(1e-10, problem, y).x
    assert float((restored - truth).abs().max()) < 0.2 * float((y - truth).abs().max())
    chosen = rivals.wiener(problem, validation)
    least, most = rivals.WIENER[0], rivals.WIENER[-1]
    assert least < chosen.numbers["strength"] < most


def test_unknown_problems_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        problems.main(["choose", "--only", "deblur"])
    assert "deblur-motion-0.01" in capsys.readouterr().err


def held_out(name: str) -> Validation:
    problem = problems.PROBLEMS[name].make((1, 32, 32))
    return make_validation(
        problem, list(problems.images("choose").values()), size=32, seed=0, tolerance=1e-3
    )
