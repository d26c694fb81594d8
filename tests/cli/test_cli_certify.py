"""Certificates from the command line: statements, files, refusals, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from programs import Run, save_weights

from equipoise.cli.certifying import Named, certify_job
from equipoise.cli.display import Display
from equipoise.cli.jobs import CertifyJob
from equipoise.regularizers import build
from equipoise.settings.task import Task

KEYS = {"name", "value", "kind", "assumes", "holds", "source", "title", "words", "advice"}
TIKHONOV = ("--regularizer", "tikhonov", "--size", 24)


def statements(run: Run, *arguments: object) -> list[dict[str, Any]]:
    result = run("certify", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def by_name(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {statement["name"]: statement for statement in found}


def test_json_is_a_list_of_statements_and_nothing_else(run: Run) -> None:
    found = statements(run, *TIKHONOV, "--alpha", 0.25)
    assert len(found) > 8
    assert len(by_name(found)) == len(found)
    for statement in found:
        assert set(statement) == KEYS
        assert statement["kind"] in ("PROVED", "ESTIMATED")
        assert isinstance(statement["holds"], bool)
        for key in ("name", "title", "assumes", "source", "words"):
            assert statement[key]
        if not statement["holds"]:
            assert statement["value"] is None
            assert statement["advice"]


def test_a_seed_decides_the_weights_that_are_certified(run: Run) -> None:
    words = ("--regularizer", "contractive", "--set", "width=2", "--set", "depth=1", "--size", 16)
    first, again = (statements(run, *words, "--task", "denoise", "--seed", 3) for _ in range(2))
    assert first == again
    assert statements(run, *words, "--task", "denoise", "--seed", 4) != first


def test_files_hold_what_json_prints(run: Run, tmp_path: Path) -> None:
    words = (*TIKHONOV, "--task", "inpaint", "--out", tmp_path / "out")
    found = statements(run, *words)
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["certificate.html", "certificate.json"]
    assert json.loads((tmp_path / "out" / "certificate.json").read_text()) == found
    page = (tmp_path / "out" / "certificate.html").read_text()
    assert re.search(r"Run \d{8}T\d{6}Z-[0-9a-f]{6}\.", page)
    for statement in found:
        assert f'id="{statement["name"]}"' in page
    assert "equipoise certify --regularizer tikhonov --task inpaint --size 24" in page
    again = run("certify", *words)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert run("certify", *words, "--overwrite").exit_code == 0


def test_the_table_names_every_statement(run: Run) -> None:
    found = statements(run, *TIKHONOV)
    result = run("certify", *TIKHONOV)
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "Embedded photograph camera" in shown
    assert "24 x 24 pixels" in shown
    for statement in found:
        assert statement["title"].split()[0] in shown
    for mark in {s["kind"] for s in found if s["holds"]}:
        assert mark in shown


def test_weights_bring_their_task_and_options_win(run: Run, tmp_path: Path, photos: Path) -> None:
    file = save_weights(tmp_path / "tied.safetensors", "inpaint", mask="0.3")
    result = run("certify", "--weights", file, "--truth", photos / "scene0.png")
    assert result.exit_code == 0, result.stderr
    assert "tied.safetensors" in result.stdout
    assert "40 x 40 pixels" in result.stdout
    assert "30 %" in result.stdout or "0.3" in result.stdout
    other = run(
        "certify", "--weights", file, "--task", "denoise", "--truth", photos / "scene0.png",
        "--size", 16,
    )  # fmt: skip
    assert other.exit_code == 0, other.stderr
    assert "16 x 16 pixels" in other.stdout


def test_an_unsolved_equation_exits_with_4_and_keeps_its_certificate(
    run: Run, tmp_path: Path
) -> None:
    words = ("--regularizer", "tv", "--size", 24, "--max-evaluations", 2, "--json")
    result = run("certify", *words, "--out", tmp_path)
    assert result.exit_code == 4
    assert "ITERATION_LIMIT" in result.stderr
    assert json.loads(result.stdout)
    assert (tmp_path / "certificate.html").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--weights", "absent.safetensors"],
        ["--regularizer", "tv", "--truth", "absent.png"],
        ["--regularizer", "tv", "--task", "deblur", "--kernel", "absent.png"],
    ],
    ids=" ".join,
)
def test_bad_files_exit_with_3(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("certify", *words)
    assert result.exit_code == 3
    assert "absent" in result.stderr
    assert result.stdout == ""


def test_an_alpha_that_is_not_positive_exits_with_2(run: Run) -> None:
    result = run("certify", *TIKHONOV, "--alpha", -1)
    assert result.exit_code == 2
    assert "alpha" in result.stderr


def test_weights_that_ship_are_certified_at_the_noise_of_the_task(run: Run) -> None:
    words = ("--regularizer", "wcrr-gray", "--size", 24)
    low, high = (
        by_name(statements(run, *words, "--task", "denoise", "--noise", noise))
        for noise in (0.02, 0.1)
    )
    assert low["modulus_lower"]["value"] == pytest.approx(-0.446, abs=0.01)
    assert high["modulus_lower"]["value"] == pytest.approx(-0.95, abs=1e-4)
    usual = by_name(statements(run, *words, "--task", "inpaint"))
    said = by_name(statements(run, *words, "--task", "inpaint", "--noise", 0.05))
    assert usual["modulus_lower"]["value"] == said["modulus_lower"]["value"]
    refused = run("certify", *words, "--set", "filters=2")
    assert refused.exit_code == 2
    assert "has been trained" in refused.stderr
    assert "Did you mean 'wcrr-gray'?" in run("certify", "--regularizer", "wcrr-grey").stderr


class Recorder(Display):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: dict[str, float | None] = {}
        self.facts: list[str] = []

    def begin(self, what: str, total: float | None = None, unit: str = "") -> None:
        self.begun[what] = total

    def update(self, done: float, facts: str = "", *, landmark: bool = False) -> None:
        self.facts.append(f"{done:g} {facts}")


def test_progress_says_which_part_is_certified() -> None:
    seen = Recorder()
    job = CertifyJob(size=16)
    found = certify_job(job, Named(build("tikhonov"), "tikhonov"), Task(name="denoise"), seen)
    assert seen.begun["Certifying"] == len(seen.facts) == len(found.certificate.sections)
    assert seen.facts[0] == "0 constants of A and R"
    assert seen.facts[-1].endswith("source condition")
