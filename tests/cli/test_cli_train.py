"""Training from the command line: one file, its record, resuming, failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import Run
from rich.console import Console
from safetensors import safe_open

from equipoise.cli.jobs import LearningJob
from equipoise.cli.learning import learn_and_save
from equipoise.cli.progress import TrainingBars
from equipoise.errors import WeightsError
from equipoise.problems import tomography
from equipoise.regularizers import load_regularizer
from equipoise.settings.task import Task

SMALL = ("--patch-size", 16, "--patches", 8, "--batch-size", 4, "--validation-crop", 24)
FILTERS = ("--set", "filters=2", "--set", "kernel-size=3")


def record_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()["record"]))


def test_train_writes_one_file_with_its_record(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "weights.safetensors"
    result = run(
        "train", "--data", photos, "--noise", 0.08, "--steps", 3, *SMALL, *FILTERS, "--seed", 5,
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert [file.name for file in out.parent.iterdir()] == ["weights.safetensors"]
    assert f"Wrote {out}: 3 steps done" in result.stdout
    record = record_of(out)
    assert record["task"] == {
        "task": "denoise", "noise": 0.08, "data_range": None, "mask": None, "kernel": None,
        "physics": None, "angles": None, "unit_size": None,
    }  # fmt: skip
    low, high = record["data"]["values"]
    assert 0.1 < low < high < 1.0
    assert record["settings"]["mode"] == "bilevel"
    assert record["settings"]["seed"] == 5
    assert record["training"]["steps"] == 3
    assert len(record["training"]["loss"]) == 3
    assert record["training"]["validation_psnr"] > 15
    assert record["data"]["training_images"] == 2
    assert set(record["provenance"]["versions"]) >= {"equipoise", "torch", "deepinv", "python"}
    regularizer, _ = load_regularizer(out)
    assert regularizer.gradient_field
    assert torch.isfinite(regularizer.field(torch.rand(1, 1, 8, 8))).all()


def test_existing_weights_are_replaced_only_on_request(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "weights.safetensors"
    out.write_bytes(b"precious")
    words = ("train", "--data", photos, "--steps", 1, *SMALL, *FILTERS, "--out", out)
    result = run(*words)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert out.read_bytes() == b"precious"
    assert run(*words, "--overwrite").exit_code == 0
    load_regularizer(out)


def test_mode_follows_the_field_and_file_options_yield_to_typed_ones(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "untied.safetensors"
    config = tmp_path / "options.yaml"
    config.write_text(
        f"regularizer: untied-conv\nset: {{filters: 2, kernel-size: 3}}\ndata: {photos}\n"
        "task: inpaint\nmask: rows:0.5\npatch_size: 16\npatches: 8\nbatch-size: 4\n"
        "validation-crop: 24\ntime-budget: 1h\nseed: 7\n"
    )
    result = run(
        "train", "--config", config, "--steps", 2, "--mask-fraction", 0.7, "--seed", 9,
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    record = record_of(out)
    assert record["settings"]["mode"] == "equilibrium"
    assert (record["settings"]["steps"], record["settings"]["time_budget"]) == (2, None)
    assert record["settings"]["seed"] == 9
    assert record["settings"]["patch_size"] == 16
    assert record["task"]["mask"] == "0.7"


def test_weights_for_tomography_remember_directions_and_scale(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    weights, image = tmp_path / "ct.safetensors", next(iter(sorted(photos.iterdir())))
    result = run(
        "train", "--task", "tomography", "--angles", "9:0-120", "--data", photos, "--steps", 2,
        *SMALL, *FILTERS, "--out", weights,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    task = record_of(weights)["task"]
    assert (task["task"], task["angles"], task["noise"]) == ("tomography", "9:0-120", 0.01)
    assert task["unit_size"] == [24, 24]  # the validation crop's
    words = ("reconstruct", image, "--weights", weights, "--simulate", "--out", tmp_path)
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    expected = tomography((1, 40, 40), "9:0-120", unit_size=(24, 24))
    assert f"divided by {expected.physics.scale:.6g}" in result.stdout
    other = tomography((1, 40, 40), "9:0-120")
    assert f"{other.physics.scale:.6g}" not in result.stdout


def test_time_budget_ends_training(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.safetensors"
    result = run("train", "--data", photos, "--time-budget", "0.3s", *SMALL, *FILTERS, "--out", out)
    assert result.exit_code == 0, result.stderr
    record = record_of(out)
    assert "time budget" in record["training"]["stopped"]
    assert 1 <= record["training"]["steps"] < 1000
    assert 0.3 <= record["training"]["seconds"] < 30


def test_training_by_the_source_condition(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.safetensors"
    result = run(
        "train", "--data", photos, "--task", "inpaint", "--mode", "source-condition",
        "--source-beta", 0.3, "--margin-weight", 0.002, "--steps", 3, *SMALL, *FILTERS,
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    record = record_of(out)
    assert record["settings"]["mode"] == "source-condition"
    assert (record["settings"]["source_beta"], record["settings"]["margin_weight"]) == (0.3, 0.002)
    assert record["training"]["forward_evaluations"] == 0.0
    assert record["training"]["validation_steps"] == [0, 3]
    assert record["training"]["pretrain_steps"] == 0


def test_turned_visits_can_be_asked_for(run: Run, photos: Path, tmp_path: Path) -> None:
    losses = {}
    for option, expected in (("--augment", True), ("--no-augment", False), (None, False)):
        out = tmp_path / f"{option}.safetensors"
        given = () if option is None else (option,)
        result = run(
            "train", "--data", photos, *given, "--steps", 3, *SMALL, *FILTERS, "--out", out
        )
        assert result.exit_code == 0, result.stderr
        record = record_of(out)
        assert record["settings"]["augment"] is expected
        assert record["training"]["notes"] == []
        losses[option] = record["training"]["loss"]
    assert losses["--augment"] != losses["--no-augment"] == losses[None]


def test_pretraining_is_recorded(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.safetensors"
    result = run(
        "train", "--data", photos, "--pretrain", "source-condition", "--pretrain-steps", 2,
        "--steps", 3, *SMALL, *FILTERS, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    record = record_of(out)
    assert record["settings"]["mode"] == "bilevel"
    assert record["settings"]["pretrain"] == "source-condition"
    training = record["training"]
    assert (training["pretrain_steps"], training["steps"], len(training["loss"])) == (2, 5, 5)
    assert 0 < training["pretrain_seconds"] < training["seconds"]


def job(photos: Path, out: Path, **settings: object) -> LearningJob:
    small = {"steps": 6, "patch_size": 16, "patches": 8, "batch_size": 4, "validate_every": 2}
    return LearningJob(
        regularizer="tied-conv",
        arguments={"filters": 2, "kernel_size": 3},
        task=Task(name="denoise"),
        data=str(photos),
        settings={**small, "checkpoint_seconds": 1e-9, **settings},
        validation_crop=24,
        device="cpu",
        out=out,
    )


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def advanced(bars: TrainingBars, progress: Any) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingBars, "advanced", advanced)


def test_killed_training_goes_on_exactly(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(quiet=True)
    whole = job(photos, tmp_path / "whole.safetensors")
    learn_and_save(whole, console)
    parts = job(photos, tmp_path / "parts.safetensors")
    with monkeypatch.context() as patch:
        kill_at(4, patch)
        with pytest.raises(KeyboardInterrupt):
            learn_and_save(parts, console)
    assert parts.checkpoint == tmp_path / "parts.checkpoint.safetensors"
    assert parts.checkpoint.exists()
    assert not parts.out.exists()
    learn_and_save(parts, console)
    assert not parts.checkpoint.exists()
    once, twice = record_of(whole.out), record_of(parts.out)
    assert once["training"]["loss"] == twice["training"]["loss"]
    assert once["training"]["validation_psnrs"] == twice["training"]["validation_psnrs"]


def test_checkpoint_of_another_run_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job(photos, tmp_path / "weights.safetensors")
    with monkeypatch.context() as patch:
        kill_at(3, patch)
        with pytest.raises(KeyboardInterrupt):
            learn_and_save(first, Console(quiet=True))
    with pytest.raises(WeightsError, match="other settings"):
        learn_and_save(job(photos, first.out, learning_rate=0.5), Console(quiet=True))


def test_interrupt_is_said_plainly(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(1, monkeypatch)
    result = run(
        "train", "--data", photos, "--steps", 3, *SMALL, *FILTERS,
        "--out", tmp_path / "weights.safetensors",
    )  # fmt: skip
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert "Traceback" not in result.stderr


def write_operator(folder: Path, body: str) -> None:
    (folder / "own_operators.py").write_text(
        "import deepinv, torch\n"
        "class Half(deepinv.physics.LinearPhysics):\n"
        "    def A(self, x, **kwargs):\n        return 0.5 * x\n"
        f"    def A_adjoint(self, y, **kwargs):\n        return {body}\n"
        "def half(shape):\n    return Half()\n"
    )


def test_own_operator_from_the_working_folder(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_operators", raising=False)
    words = (
        "train", "--data", photos, "--physics", "own_operators:half", "--noise", 0.05,
        "--steps", 1, *SMALL, *FILTERS, "--out", tmp_path / "own.safetensors",
    )  # fmt: skip
    write_operator(tmp_path, "0.5 * y + 0.1 * y.flip(-1)")
    result = run(*words)
    assert result.exit_code == 3
    assert "not the adjoint" in result.stderr
    write_operator(tmp_path, "0.5 * y")
    monkeypatch.delitem(sys.modules, "own_operators")
    sys.path_importer_cache.clear()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for cached in (tmp_path / "__pycache__").glob("*"):
        cached.unlink()
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    assert record_of(tmp_path / "own.safetensors")["task"]["physics"] == "own_operators:half"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--mode", "bilevel", "--regularizer", "untied-conv"), 2, "equilibrium"),
        (("--pretrain", "source"), 2, "source-condition"),
        (("--mode", "source-condition", "--pretrain", "source-condition"), 2, "another mode"),
        (("--margin-weight", 0), 2, "--margin-weight: Input should be greater"),
        (("--data", "nowhere"), 3, "no folder"),
        (("--patch-size", 64), 3, "smaller"),
        (("--task", "inpaint", "--mask-fraction", 0), 3, "share of known pixels"),
        (("--task", "deblur", "--kernel", "none.png"), 3, "none.png"),
        (("--physics", "no_such_module:blur"), 3, "no_such_module"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_training_input(
    run: Run, photos: Path, tmp_path: Path, words: tuple[object, ...], code: int, said: str
) -> None:
    result = run(
        "train", "--data", photos, "--steps", 1, *SMALL, *FILTERS, *words,
        "--out", tmp_path / "weights.safetensors",
    )  # fmt: skip
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("train", "--out", tmp_path / "file" / "weights.safetensors")
    assert result.exit_code == 3
    assert "Cannot make the folder" in result.stderr
