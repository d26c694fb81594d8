"""What a comparison and a restoration had done before they were interrupted is kept."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import Run, pattern, save_weights

from equipoise.cli.journal import Journal
from equipoise.cli.outputs import lock_of, reserved
from equipoise.cli.progress import TrainingBars
from equipoise.cli.restoring import Restorer
from equipoise.learn.checkpoint import read_checkpoint
from equipoise.regularizers import load_regularizer

TINY = (
    "--steps", 3, "--patch-size", 16, "--patches", 8, "--batch-size", 4, "--validation-crop", 24,
)  # fmt: skip


def steps_of(monkeypatch: pytest.MonkeyPatch, stop: int = 0) -> list[int]:
    """The steps that are taken; interrupted at the one of that number."""
    taken: list[int] = []

    def advanced(bars: TrainingBars, progress: Any) -> None:
        taken.append(progress.step)
        if len(taken) == stop:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TrainingBars, "advanced", advanced)
    return taken


def compare(run: Run, photos: Path, out: Path, *more: object) -> Any:
    return run(
        "compare", "--task", "denoise", "--data", photos, *TINY, "--crop", 24,
        "--methods", "bilevel,equilibrium", "--regularizer", "tied-conv", "--out", out, *more,
    )  # fmt: skip


@pytest.mark.usefixtures("hurried")
def test_an_interrupted_comparison_goes_on(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert compare(run, photos, whole).exit_code == 0
    with monkeypatch.context() as patch:
        steps_of(patch, stop=4)  # the first of the second training
        result = compare(run, photos, out)
    assert result.exit_code == 130
    assert "checkpoints can be continued" in result.stderr
    kept = sorted(path.name for path in (out / "unfinished").iterdir())
    assert kept == [
        "denoise-0-tied-conv-bilevel-seed0.safetensors",
        "denoise-1-tied-conv-equilibrium-seed0.safetensors",
        "settings.json",
    ]
    facts = [read_checkpoint(out / "unfinished" / name).facts for name in kept[:2]]
    assert [fact["step"] for fact in facts] == [3, 1]
    assert facts[0]["run"] == facts[1]["run"] != ""

    other = compare(run, photos, out, "--steps", 2)
    assert other.exit_code == 2
    assert "equipoise compare --task denoise" in other.stderr  # what would finish it
    taken = steps_of(monkeypatch)
    result = compare(run, photos, out, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert "Going on from the checkpoints" in result.stderr
    assert taken == [2, 3]
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "summary.json"]
    once, twice = (json.loads((f / "summary.json").read_text()) for f in (whole, out))
    assert [r["images"] for r in once["runs"]] == [r["images"] for r in twice["runs"]]
    assert once["run"] != twice["run"]
    assert twice["run"] in (out / "report.html").read_text()


@pytest.mark.usefixtures("hurried")
def test_checkpoints_of_other_settings_are_discarded_on_request(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        steps_of(patch, stop=1)
        assert compare(run, photos, tmp_path).exit_code == 130
    taken = steps_of(monkeypatch)
    assert compare(run, photos, tmp_path, "--steps", 2, "--overwrite").exit_code == 0
    assert taken == [1, 2, 1, 2]
    again = compare(run, photos, tmp_path)
    assert again.exit_code == 2
    assert "summary.json. Use --overwrite" in again.stderr


@pytest.mark.usefixtures("hurried")
def test_interrupted_training_saves_the_step_and_names_its_run(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "w.safetensors"
    words = ("train", "--data", photos, *TINY, "--set", "filters=2", "--out", out)
    with monkeypatch.context() as patch:
        steps_of(patch, stop=2)
        assert run(*words).exit_code == 130
    (checkpoint,) = tmp_path.iterdir()
    saved = read_checkpoint(checkpoint).facts
    assert saved["step"] == 2
    taken = steps_of(monkeypatch)
    assert run(*words).exit_code == 0
    assert taken == [3]
    now = load_regularizer(out)[1]["provenance"]["run"]
    assert now
    assert now != saved["run"]
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"scan{k}.npy" for k in range(4)]
    for k, file in enumerate(files):
        np.save(file, pattern(20, shift=k).astype(np.float32))
    return files


def restored(monkeypatch: pytest.MonkeyPatch, stop: int = -1) -> list[str]:
    """The images that are restored; interrupted before the one of that number."""
    done: list[str] = []
    usual = Restorer.restore

    def restore(restorer: Restorer, job: Any, *others: Any) -> Any:
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(job.source.stem)
        return usual(restorer, job, *others)

    monkeypatch.setattr(Restorer, "restore", restore)
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def half_done(
    run: Run, weights: Path, scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[object, ...]:
    """A command that was interrupted after two of four images."""
    words = ("reconstruct", *scans, "--weights", weights, "--simulate", "--noise", 0.1)
    assert run(*words, "--out", tmp_path / "whole").exit_code == 0
    words = (*words, "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        restored(patch, stop=2)
        result = run(*words)
    assert result.exit_code == 130
    assert "scan1_restored.npy" in result.stdout
    return words


def test_a_restoration_goes_on(
    run: Run, half_done: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(*half_done)
    assert result.exit_code == 2
    assert "Or go on with --resume" in result.stderr
    done = restored(monkeypatch)
    result = run(*half_done, "--resume")
    assert result.exit_code == 0, result.stderr
    assert done == ["scan2", "scan3"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    table = [line for line in result.stdout.splitlines() if "_restored" in line]
    assert [line.split()[0] for line in table] == [f"scan{k}_restored.npy" for k in range(4)]
    assert all(" to " in line for line in table)  # PSNR of all, before and after
    result = run(*half_done, "--resume")
    assert result.exit_code == 2
    assert "Nothing of this command is unfinished here." in result.stderr


def test_what_is_done_altogether_is_only_shown(
    run: Run, half_done: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (journal,) = (tmp_path / "out").glob(".equipoise-*.journal")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "close", lambda *arguments, **options: None)
        assert run(*half_done, "--resume").exit_code == 0
    assert journal.exists()
    lock = lock_of(tmp_path / "out" / "scan3_restored.npy")  # of a process that is gone
    child = os.fork()
    if child == 0:
        with reserved([], held=[tmp_path / "out" / "scan3_restored.npy"], overwrite=True):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert lock.exists()
    done = restored(monkeypatch)
    result = run(*half_done, "--resume")
    assert (result.exit_code, done) == (0, [])
    assert result.stdout.count("_restored.npy") == 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_finished_image_whose_source_changed_is_restored_again(
    run: Run,
    half_done: tuple[object, ...],
    scans: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.save(scans[0], pattern(20, shift=9).astype(np.float32))
    done = restored(monkeypatch)
    assert run(*half_done, "--resume").exit_code == 0
    assert done == ["scan0", "scan2", "scan3"]


def test_an_output_that_was_changed_is_not_replaced(
    run: Run, half_done: tuple[object, ...], tmp_path: Path
) -> None:
    changed = tmp_path / "out" / "scan0_restored.npy"
    changed.write_bytes(b"mine")
    result = run(*half_done, "--resume")
    assert result.exit_code == 2
    assert str(changed) in result.stderr
    assert changed.read_bytes() == b"mine"
    assert run(*half_done, "--resume", "--overwrite").exit_code == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_another_command_does_not_go_on(
    run: Run, half_done: tuple[object, ...], weights: Path, tmp_path: Path
) -> None:
    result = run(*half_done, "--alpha", 2, "--resume")
    assert result.exit_code == 2
    assert "Already there" in result.stderr
    other = save_weights(tmp_path / weights.name, "denoise")
    other.write_bytes(weights.read_bytes())
    words = [other if word == weights else word for word in half_done]
    assert run(*words, "--resume").exit_code == 2  # another file, though of the same content


def test_a_line_that_was_cut_off_says_nothing(
    run: Run, half_done: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (journal,) = (tmp_path / "out").glob(".equipoise-*.journal")
    lines = journal.read_text().splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["begins", "ends"] * 2 + ["begins"]
    journal.write_text("\n".join(lines[:3]) + "\n" + lines[3][:50])
    done = restored(monkeypatch)
    assert run(*half_done, "--resume").exit_code == 0
    assert done == ["scan1", "scan2", "scan3"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_output_of_one_image_may_be_a_file(run: Run, weights: Path, scans: list[Path]) -> None:
    out = scans[0].parent / "new" / "mine.tif"
    words = ("reconstruct", scans[0], "--weights", weights, "--simulate", "--out")
    assert run(*words, out).exit_code == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["mine.tif", "mine_degraded.tif"]


def test_a_folder_may_be_called_like_a_file(run: Run, weights: Path, scans: list[Path]) -> None:
    folder = scans[0].parent / "v1.png"
    folder.mkdir()
    assert run("reconstruct", scans[0], "--weights", weights, "--out", folder).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["scan0_restored.npy"]


@pytest.mark.parametrize(
    ("count", "name", "said"),
    [(2, "a.npy", "2 images"), (1, "a.png", "PNG cannot hold"), (1, "a.jpg", "use .png")],
)
def test_files_that_cannot_hold_the_result_are_refused_before_the_work(
    run: Run,
    weights: Path,
    scans: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    name: str,
    said: str,
) -> None:
    done = restored(monkeypatch)
    out = scans[0].with_name(name)
    result = run("reconstruct", *scans[:count], "--weights", weights, "--out", out)
    assert (result.exit_code, done) == (2, [])
    assert said in result.stderr
    assert not out.exists()
