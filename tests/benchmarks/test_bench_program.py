"""The program that runs benchmarks, and the processes in which cases run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench_data import example_record, need_data

from benchmarks import __main__ as program
from benchmarks import growth, machine, memory
from benchmarks.isolated import isolated
from benchmarks.record import Record, Row, read_record


@pytest.mark.parametrize("name", program.BENCHMARKS)
def test_every_benchmark_runs_and_draws(name: str) -> None:
    module = program.load(name)
    assert callable(module.run)
    assert callable(module.plot)


def test_a_run_prints_writes_and_draws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def run(short: bool, say: Callable[[str], None]) -> Record:
        say("at work")
        seen.append(short)
        return example_record()

    def plot(record: Record, path: Path) -> None:
        path.write_text(record.name, encoding="utf-8")

    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "load", lambda name: SimpleNamespace(run=run, plot=plot))
    assert program.main(["growth", "--short"]) == 0
    assert seen == [True]
    assert read_record(tmp_path / "results/bench/growth.json") == example_record()
    assert (tmp_path / "results/bench/speed-growth.png").read_text("utf-8") == "growth"
    printed = capsys.readouterr().out
    assert "at work" in printed
    assert "12,345" in printed


def test_other_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        program.main(["speed"])
    assert stop.value.code == 2
    assert "evaluation" in capsys.readouterr().err


def test_the_device_is_the_one_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.DEVICE, "meta")
    assert machine.device().type == "meta"


def test_growth_proves_its_error() -> None:
    need_data()
    found = growth.measure_image(32)
    assert found["pixels"] == 32 * 32
    assert 0 < found["error"] <= growth.ERROR
    assert found["work"] == found["pixels"] * found["evaluations"]
    assert all(found[key] > 0 for key in ("evaluation", "apply", "rebuild", "seconds"))


def test_a_solve_that_misses_its_error_has_no_time() -> None:
    found = {"pixels": 4, "evaluation": 1.0, "apply": 1.0, "rebuild": 1.0, "seconds": 1.0}
    found |= {"evaluations": 7, "work": 28, "error": 0.0021}
    values = growth._values(found)
    assert values["seconds"] == "not reached: 0.0021 after 7"
    assert "solve" not in values


def test_peak_memory_is_that_of_a_known_allocation() -> None:
    need_data()
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux")

    def case(item: memory.Instance) -> None:
        item.truth.new_ones(item.truth.numel(), 256).sum()

    found = memory._peak(case, lambda size: memory.tiled(size, size)[None], 8, 256)
    assert found["bytes"] == pytest.approx(256 * 256 * 256 * 4, rel=0.1)


def test_cases_in_their_own_process() -> None:
    need_data()
    found = isolated("memory", "measure_image", case="evaluation", side=48)
    assert found is not None
    assert found["pixels"] == 48 * 48


def test_a_case_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no attribute 'nothing'"):
        isolated("rates", "nothing")


def test_memory_that_is_not_there_is_reported() -> None:
    size = {"batch": 2**20, "height": 1024, "width": 1024, "repeats": 1}
    assert isolated("rates", "measure_rates", **size) is None


def test_memory_of_others_is_put_over_ours() -> None:
    rows = [
        Row("step", {"mib64": 2.0}),
        Row("step, 10 unrolled steps, straightforward", {"mib64": 5.0}),
        Row("step, 50 unrolled steps, straightforward", {"mib64": "out of memory"}),
    ]
    (sentence,) = memory._findings(rows, 64)
    assert sentence.startswith("step, 10 unrolled steps, straightforward: 2.5 times")
