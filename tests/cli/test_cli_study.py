"""equipoise study: files, table, exit codes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from programs import Run, save_weights

SMALL = ("--size", 12, "--repeats", 2, "--noise-levels", "0.1,0.01,0.001")


def test_study_writes_page_numbers_and_figures(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "study"
    arguments = ("--physics", "inpaint", "--regularizer", "tikhonov,contractive")
    result = run("study", "rates", *arguments, *SMALL, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Gap case" in result.stdout
    assert "95 % intervals over draws" in result.stdout
    names = {path.name for path in out.iterdir()}
    assert names == {
        "report.html",
        "summary.json",
        *(f"inpaint-{r}.{end}" for r in ("tikhonov", "contractive") for end in ("png", "svg")),
    }
    found = json.loads((out / "summary.json").read_text())
    assert found["study"] == "rates"
    assert found["run"]
    assert found["run"] in (out / "report.html").read_text()
    assert "Not of this run" not in result.stdout
    assert [case["regularizer"] for case in found["cases"]] == ["tikhonov", "contractive"]
    assert found["settings"]["noise_levels"] == [0.1, 0.01, 0.001]
    page = (out / "report.html").read_text()
    assert "equipoise study rates --physics inpaint" in page
    assert page.count("<figure>") == 2
    again = run("study", "rates", *arguments, *SMALL, "--out", out)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_study_of_weights_takes_their_own_problem(run: Run, tmp_path: Path) -> None:
    file = save_weights(tmp_path / "w.safetensors", "inpaint", mask="0.5")
    out = tmp_path / "out"
    result = run("study", "convergence", "--weights", file, *SMALL, "--out", out)
    assert result.exit_code in (0, 4), result.output
    (case,) = json.loads((out / "summary.json").read_text())["cases"]
    assert (case["physics"], case["regularizer"]) == ("own", "weights")
    assert "Inpainting" in case["description"]


def test_photographs_on_another_scale_are_told(run: Run, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).uniform(0, 255, (3, 1, 12, 12))
    data = tmp_path / "data"
    data.mkdir()
    for index, image in enumerate(numbers):
        np.save(data / f"{index}.npy", image)
    case = ("--physics", "inpaint", "--regularizer", "tikhonov", "--data", data, *SMALL)
    result = run("study", "rates", *case, "--out", tmp_path / "odd")
    assert "say it with --data-range 255" in result.stdout, result.output
    (note,) = json.loads((tmp_path / "odd" / "summary.json").read_text())["notes"]
    assert "3 of the images" in note
    assert "--data-range 255" in (tmp_path / "odd" / "report.html").read_text()


def test_failed_solves_of_monotone_fields_exit_with_their_code(run: Run, tmp_path: Path) -> None:
    starved = ("--max-evaluations", 3, "--out", tmp_path / "out", *SMALL)
    case = ("--physics", "blur", "--regularizer", "contractive")
    result = run("study", "rates", *case, *starved)
    assert result.exit_code == 4, result.output
    assert "blur, contractive" in result.stderr
    assert (tmp_path / "out" / "report.html").exists()
    case = ("--physics", "blur", "--regularizer", "network")
    result = run("study", "convergence", *case, *starved, "--overwrite")
    assert result.exit_code == 0, result.output
    older = "blur-contractive.png, blur-contractive.svg"
    assert f"Not of this run, though in that folder: {older}." in result.stdout
    assert "did not converge" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("rate",), "rates"),
        (("rates", "--physics", "inpant"), "inpaint"),
        (("rates", "--regularizer", "contractiv"), "contractive"),
        (("rates", "--noise-levels", "0.1,low"), "--noise-levels: Input should be a valid number"),
        (("rates", "--noise-levels", "3"), "between 0 and 1"),
        (("rates", "--mask", "0.5"), "--weights"),
        (("rates", "--regularizer", "weights"), "--weights"),
        (("rates", "--task", "inpant"), "inpaint"),
    ],
)
def test_wrong_use_is_named_before_any_work(
    run: Run, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    result = run("study", *words, "--out", tmp_path / "none")
    assert result.exit_code == 2, result.output
    assert expected in result.stderr
    assert not (tmp_path / "none").exists()


def test_bad_input_has_its_code(run: Run, tmp_path: Path) -> None:
    result = run("study", "rates", "--weights", tmp_path / "no.safetensors", "--out", tmp_path)
    assert result.exit_code == 3
    result = run("study", "rates", "--size", 300, "--out", tmp_path / "large")
    assert result.exit_code == 3
    assert "smaller than the study's 300" in result.stderr


def test_options_without_a_task_are_named_as_they_were_typed(run: Run) -> None:
    result = run("study", "rates", "--mask-fraction", 0.3)
    assert result.exit_code == 2
    assert "--mask-fraction belong to --task or --weights" in " ".join(result.stderr.split())
