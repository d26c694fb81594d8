"""``summary.json`` is strict JSON with every number; the terminal shows the same."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from builders import ALL, TIED, UNTIED, build_comparison, build_task
from rich.console import Console

from equipoise.compare.records import Comparison, RunSummary
from equipoise.errors import OutputError
from equipoise.report import print_table, write_summary
from equipoise.report.groups import group_runs

REQUIRED = {
    "task", "method", "regularizer", "parameters", "psnr_mean", "psnr_input", "ssim_mean",
    "train_seconds", "reconstruct_seconds", "converged_fraction", "symmetry_defect", "seed",
}  # fmt: skip


def _read(comparison: Comparison, folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    write_summary(comparison, path)

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert isinstance(content, dict)
    return content


def test_the_numbers_come_back(tmp_path: Path) -> None:
    comparison = build_comparison(build_task(task="denoise"), build_task(task="deblur"))
    content = _read(comparison, tmp_path)
    assert content["settings"] == comparison.settings
    assert content["environment"] == comparison.environment
    assert content["seconds"] == comparison.seconds
    runs = [run.summary for task in comparison.tasks for run in task.runs]
    assert [RunSummary.model_validate(run) for run in content["runs"]] == runs
    assert all(set(run) >= REQUIRED for run in content["runs"])


def test_numbers_that_json_does_not_know_are_null_or_texts(tmp_path: Path) -> None:
    task = build_task((TIED, replace(UNTIED, defect=nan)), photographs=1)
    score = task.runs[0].summary.images[0].model_copy(update={"residual": inf})
    summary = task.runs[0].summary.model_copy(update={"images": [score]})
    task.runs[0] = replace(task.runs[0], summary=summary)
    tied, untied = _read(build_comparison(task), tmp_path)["runs"]
    assert tied["psnr_interval"] == {"low": None, "high": None}
    assert tied["images"][0]["residual"] == "inf"
    assert tied["symmetry_defect"] == 0.0
    assert untied["symmetry_defect"] is None


def test_an_older_file_survives_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_summary(build_comparison(build_task((TIED,), size=8)), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_method(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    odd = replace(TIED, label="[bold]odd[/nothing]")
    print_table(build_comparison(build_task((*ALL, odd))), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "denoise: Gaussian noise" in text
    for shown in ("Degraded", "Tikhonov", "27.88", "27.6–28.1", "0.31", "100 %", "[bold]odd"):
        assert shown in text
    assert "…" not in text


def test_the_terminal_survives_a_task_without_methods() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_table(build_comparison(build_task(())), console)
    assert isinstance(console.file, io.StringIO)
    assert "denoise" in console.file.getvalue()


def test_the_error_of_a_mean_defect_falls_with_the_seeds() -> None:
    (group,) = group_runs(build_task([replace(UNTIED, seed_shifts=(0.0, 0.1, 0.2, 0.3))]))
    assert group.defect == pytest.approx(UNTIED.defect)
    assert group.defect_error == pytest.approx(UNTIED.defect_error / 2)
