"""Every script in examples/, run in this process on small images and few steps."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise import Status

FOLDER = Path(__file__).resolve().parents[1] / "examples"


def main_of(name: str) -> Callable[..., Any]:
    main: Callable[..., Any] = runpy.run_path(str(FOLDER / f"{name}.py"), run_name=name)["main"]
    return main


def test_every_example_is_tested() -> None:
    tested = {name.removeprefix("test_example_") for name in globals() if "test_example_" in name}
    assert {file.stem for file in FOLDER.glob("*.py")} == tested


def test_example_solve_equations(capsys: pytest.CaptureFixture[str]) -> None:
    solutions = main_of("solve_equations")(size=48)
    broken = solutions.pop("far too long a step")
    assert broken.statuses == [Status.DIVERGED]
    assert len(solutions) == 9
    for name, solution in solutions.items():
        assert solution.all_converged, name
        assert (solution.error_bound is None) == (name == "any network"), name
    printed = capsys.readouterr().out
    assert Status.DIVERGED.advice in printed
    assert "PROVED" in printed


def test_example_hypergradients() -> None:
    compared = main_of("hypergradients")(size=16)
    assert set(compared) == {"alpha", "kernel"}
    for name, (implicit, difference) in compared.items():
        assert implicit == pytest.approx(difference, rel=1e-5), name


def test_example_train_pairs() -> None:
    outcomes = main_of("train_pairs")(steps=4, size=64, filters=4, patches=4)
    for name, outcome in outcomes.items():
        assert outcome.solution.all_converged, name
        assert outcome.psnr > outcome.psnr_input + 1.0, name
        assert outcome.uniqueness.startswith("PROVED"), name
    assert outcomes["tied-conv"].symmetry_defect == 0.0
    assert outcomes["untied-conv"].symmetry_defect > 0.0


def test_example_tomography() -> None:
    before, after, converged = main_of("tomography")(size=32, angles=12)
    assert converged
    assert after > before + 5.0


def test_example_deepinv_trainer() -> None:
    degraded, before, after = main_of("deepinv_trainer")(epochs=1, patches=16, size=24)
    assert after > before > degraded
