"""The comparison from the command line, on four small images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from programs import Run

from equipoise.cli.compare import _require_convergence
from equipoise.cli.progress import TrainingBars, facts_of

TINY = (
    "--steps", 2, "--patch-size", 16, "--patches", 8, "--batch-size", 4, "--crop", 24,
    "--validation-crop", 24,
)  # fmt: skip


def test_comparison_writes_page_numbers_and_table(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = run(
        "compare", "--task", "denoise", "--data", photos, "--noise", 0.1, *TINY,
        "--methods", "tikhonov,bilevel", "--methods", "equilibrium",
        "--regularizer", "tied-conv", "--seed", 3, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "summary.json"]
    summary = json.loads((out / "summary.json").read_text())
    assert [run["method"] for run in summary["runs"]] == ["tikhonov", "bilevel", "equilibrium"]
    for entry in summary["runs"]:
        assert (entry["task"], entry["seed"]) == ("denoise", 3)
        assert entry["converged_fraction"] == 1.0
    assert summary["runs"][1]["steps"] == 2
    assert "<html" in (out / "report.html").read_text()
    assert "Tied pair, bilevel" in result.stdout
    assert "report.html" in result.stdout
    assert "Traceback" not in result.stderr


def test_command_in_the_summary_gives_the_same_numbers(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    config = tmp_path / "options.yaml"
    config.write_text(
        f"task: inpaint\nmask-fraction: 0.6\ndata: {photos}\nmethods: [bilevel]\n"
        "regularizer: tied-conv\nsteps: 9\npatch-size: 16\npatches: 8\nbatch-size: 4\n"
        "crop: 24\nvalidation-crop: 24\n"
    )
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("compare", "--config", config, "--steps", 2, "--out", first).exit_code == 0
    summary = json.loads((first / "summary.json").read_text())
    words = summary["command"].split()
    assert words[:2] == ["equipoise", "compare"]
    assert run(*words[1:], "--out", second).exit_code == 0
    again = json.loads((second / "summary.json").read_text())
    assert summary["settings"] == again["settings"]
    assert summary["settings"]["steps"] == 2
    assert [r["psnr_mean"] for r in summary["runs"]] == [r["psnr_mean"] for r in again["runs"]]


def test_tomography_is_compared_when_it_is_named(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = run(
        "compare", "--task", "tomography", "--angles", "9:0-120", "--data", photos, *TINY,
        "--methods", "tikhonov,bilevel", "--regularizer", "tied-conv", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert [entry["task"] for entry in summary["runs"]] == ["tomography"] * 2
    assert all(entry["psnr_mean"] > entry["psnr_input"] for entry in summary["runs"])
    assert "--angles 9:0-120" in summary["command"]
    page = (out / "report.html").read_text()
    assert "parallel rays from 9 directions over 0 to 120 degrees" in page


def test_source_condition_and_pretraining(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = run(
        "compare", "--task", "inpaint", "--data", photos, "--patch-size", 16, "--patches", 8,
        "--batch-size", 4, "--crop", 24, "--validation-crop", 24, "--time-budget", "1s",
        "--methods", "bilevel,equilibrium,jacobian-free,source-condition",
        "--regularizer", "contractive,crr", "--pretrain", "source-condition",
        "--pretrain-steps", 2, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    summary = json.loads((out / "summary.json").read_text())
    rows = [(entry["method"], entry["regularizer"]) for entry in summary["runs"]]
    assert rows == [
        ("bilevel", "crr"),
        *((m, r) for m in ("equilibrium", "jacobian-free", "source-condition")
          for r in ("contractive", "crr")),
    ]  # fmt: skip
    for entry in summary["runs"]:
        if entry["method"] == "source-condition":
            assert entry["adjoint_evaluations"] == 0.0
        else:
            assert entry["steps"] >= 2
    assert "--pretrain source-condition --pretrain-steps 2" in summary["command"]


def test_own_operator(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cli_blurs.py").write_text(
        "import torch\nfrom deepinv.physics import Blur\n"
        "def soft(shape):\n"
        "    return Blur(filter=torch.full((1, 1, 3, 3), 1 / 9), padding='valid')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = run(
        "compare", "--physics", "cli_blurs:soft", "--noise", 0.02, "--data", photos, *TINY,
        "--methods", "tikhonov,bilevel", "--regularizer", "tied-conv", "--out", "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    summary = json.loads(Path("out/summary.json").read_text())
    assert {entry["task"] for entry in summary["runs"]} == {"physics"}
    assert "--physics cli_blurs:soft" in summary["command"]
    assert "--task" not in summary["command"]


def test_empty_folder(run: Run, tmp_path: Path) -> None:
    result = run("compare", "--data", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "has no images" in result.stderr


def test_unconverged_runs_are_code_4() -> None:
    from types import SimpleNamespace as Record

    from equipoise.errors import ConvergenceError

    def comparison(fraction: float, failures: tuple[str, ...] = ()) -> Record:
        run = Record(summary=Record(label="Untied pair", converged_fraction=fraction))
        return Record(tasks=[Record(task="deblur", runs=[run], failures=failures)])

    _require_convergence(comparison(1.0))  # type: ignore[arg-type]
    with pytest.raises(ConvergenceError, match="deblur: Untied pair"):
        _require_convergence(comparison(0.75))  # type: ignore[arg-type]
    with pytest.raises(ConvergenceError, match="deblur: no result"):
        _require_convergence(comparison(1.0, ("no result",)))  # type: ignore[arg-type]


def test_bars_show_loss_psnr_and_evaluations() -> None:
    import io
    import math

    from rich.console import Console

    from equipoise.learn import Progress
    from equipoise.learn.step import StepReport

    report = StepReport(0.00123, 0.001, 12.4, 7.6, 1.0, 1.0, 1.0)
    assert facts_of(Progress(2, 4, report, math.nan, 1.0)) == "loss 1.2e-03 PSNR - evals 12+8"
    stream = io.StringIO()
    with TrainingBars(console=Console(file=stream, width=90)) as bars:
        bars.started("denoise", "Tied pair", 4)
        bars.advanced(Progress(2, 4, report, 25.678, 1.0))
    assert "denoise: Tied pair" in stream.getvalue()
    assert "loss 1.2e-03 PSNR 25.68 evals 12+8" in stream.getvalue()
