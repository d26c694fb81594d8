"""A weights file says everything itself: it opens no other file and chooses no code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from programs import Run, pattern, save_weights
from safetensors import safe_open

from equipoise.cli.tasks import choose_task
from equipoise.errors import UsageError, WeightsError
from equipoise.problems import FixedMask, kernel_from_tensor
from equipoise.problems.kernels import Kernel
from equipoise.problems.pose import pose
from equipoise.problems.records import recorded_task
from equipoise.regularizers import load_regularizer
from equipoise.settings.task import Task
from equipoise.study import StudySettings

FORMAT1 = Path(__file__).parents[1] / "format1"
SMALL = (
    "--steps", 1, "--patch-size", 16, "--patches", 4, "--batch-size", 4, "--validation-crop", 24,
    "--set", "filters=2", "--set", "kernel_size=3",
)  # fmt: skip
#: Leaves a mark wherever it is imported.
OPERATOR = """
from pathlib import Path
Path("imported").touch()
import deepinv

def op(shape):
    return deepinv.physics.Denoising()
"""
KERNELS = (np.diag([3.0, 2.0, 1.0]), np.ones((1, 9)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a truth."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    np.save("truth.npy", pattern(24))
    return tmp_path


def mask(shift: int = 0) -> np.ndarray:
    return ((np.arange(576).reshape(24, 24) + shift) % 3 > 0).astype(np.uint8) * 255


def trained(run: Run, photos: Path, *words: object) -> None:
    result = run("train", "--data", photos, *SMALL, *words, "--out", "w.safetensors")
    assert result.exit_code == 0, result.stderr


def degraded_and_restored(run: Run, *words: object) -> tuple[np.ndarray, np.ndarray]:
    result = run(
        "reconstruct", "truth.npy", "--weights", "w.safetensors", "--simulate", "--noise", 0.01,
        *words, "--overwrite",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return np.load("truth_degraded.npy"), np.load("truth_restored.npy")


def test_a_replaced_kernel_changes_nothing(
    run: Run, photos: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("psf.npy", KERNELS[0])
    trained(run, photos, "--task", "deblur", "--kernel", "psf.npy")
    before = degraded_and_restored(run)
    np.save("psf.npy", KERNELS[1])
    assert all(map(np.array_equal, degraded_and_restored(run), before))
    changed = degraded_and_restored(run, "--kernel", "psf.npy")
    assert not np.allclose(changed[0], before[0], atol=1e-2)
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    for name in ("w.safetensors", "truth.npy"):
        (elsewhere / name).write_bytes(Path(name).read_bytes())
    monkeypatch.chdir(elsewhere)
    assert all(map(np.array_equal, degraded_and_restored(run), before))
    certified = run("certify", "--weights", "w.safetensors", "--truth", "truth.npy", "--json")
    assert certified.exit_code == 0, certified.stderr


def test_a_replaced_mask_changes_nothing_and_the_trained_one_is_known(
    run: Run, photos: Path, here: Path
) -> None:
    PIL.Image.fromarray(mask()).save("holes.png")
    trained(run, photos, "--task", "inpaint", "--mask", "holes.png")
    before = degraded_and_restored(run)
    assert np.array_equal(before[0] != 0, mask() > 0)
    PIL.Image.fromarray(mask(1)).save("holes.png")
    assert all(map(np.array_equal, degraded_and_restored(run), before))
    changed = degraded_and_restored(run, "--mask", "holes.png")
    assert np.array_equal(changed[0] != 0, mask(1) > 0)
    Path("holes.png").unlink()
    np.save("measured.npy", before[0])
    result = run("reconstruct", "measured.npy", "--weights", "w.safetensors", "--noise", 0.01)
    assert result.exit_code == 0, result.stderr
    assert np.allclose(np.load("measured_restored.npy"), before[1], atol=1e-3)


def test_training_goes_on_with_the_same_kernel_only(
    run: Run, photos: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from equipoise.cli.progress import TrainingBars
    from equipoise.learn import trainer

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    words = ("--task", "deblur", "--kernel", "psf.npy", "--out", "w.safetensors")
    np.save("psf.npy", KERNELS[0])
    with monkeypatch.context() as patch:
        # The clock runs away, so that the first step is followed by a checkpoint.
        ticks = iter(range(0, 10**9, 1000))
        patch.setattr(trainer.time, "perf_counter", lambda: float(next(ticks)))
        patch.setattr(TrainingBars, "advanced", lambda *_: None)
        patch.setattr(trainer._Training, "finish", killed)
        assert run("train", "--data", photos, *SMALL, *words).exit_code == 130
    assert Path("w.checkpoint.safetensors").exists()
    np.save("psf.npy", KERNELS[1])
    result = run("train", "--data", photos, *SMALL, *words)
    assert result.exit_code == 3
    assert "kernel, mask or operator changed" in result.stderr
    np.save("psf.npy", KERNELS[0])
    result = run("train", "--data", photos, *SMALL, *words)
    assert result.exit_code == 0, result.stderr


COMMANDS = [
    ("reconstruct", "truth.npy"),
    ("reconstruct", "truth.npy", "--task", "physics"),
    ("certify", "--truth", "truth.npy"),
    ("study", "lower-bound", "--size", 8, "--max-evaluations", 20, "--repeats", 2),
    ("study", "stability", "--physics", "own"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(map(str, words)))
@pytest.mark.parametrize("reference", ["scan.py:op", "scan:op"])
def test_weights_choose_no_code(
    run: Run, here: Path, words: tuple[object, ...], reference: str
) -> None:
    weights = save_weights(here / "w.safetensors", "physics", physics=reference)
    Path("scan.py").write_text(OPERATOR)
    result = run(*words, "--weights", weights)
    assert result.exit_code == 2, result.output
    assert f"--physics {reference}" in result.stderr
    assert not Path("imported").exists()
    assert "scan" not in sys.modules


def test_the_command_line_chooses_code(run: Run, here: Path) -> None:
    weights = save_weights(here / "w.safetensors", "physics", physics="scan.py:op")
    Path("scan.py").write_text(OPERATOR)
    for words in COMMANDS[0], COMMANDS[2], COMMANDS[3]:
        result = run(*words, "--weights", weights, "--physics", "scan.py:op")
        assert result.exit_code in (0, 4), result.output
        assert Path("imported").exists()
        Path("imported").unlink()
    Path("truth_restored.npy").unlink()
    for words in COMMANDS[0], COMMANDS[2]:  # another problem is one that runs no code
        result = run(*words, "--weights", weights, "--task", "denoise")
        assert result.exit_code == 0, result.output
    assert not Path("imported").exists()


def test_commands_without_an_operator_import_nothing_from_the_folder(
    run: Run, here: Path, weights: Path
) -> None:
    for words in COMMANDS[0], COMMANDS[2], COMMANDS[3]:
        assert run(*words, "--weights", weights).exit_code in (0, 4)
        assert str(here) not in sys.path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("kernel", ("'psf.npy'", "--kernel FILE")),
        ("mask", ("'holes.png'", "--mask FILE")),
        ("physics", ("'scan.py:op'", "--physics scan.py:op")),
    ],
)
@pytest.mark.parametrize("words", COMMANDS[::2], ids=lambda words: words[0])
def test_old_files_say_what_they_refer_to(
    run: Run, here: Path, words: tuple[object, ...], name: str, told: tuple[str, ...]
) -> None:
    np.save("psf.npy", KERNELS[0])
    PIL.Image.fromarray(mask()).save("holes.png")
    Path("scan.py").write_text(OPERATOR)
    words = (*words, "--weights", FORMAT1 / f"{name}.safetensors")
    result = run(*words)
    assert result.exit_code == 2, result.output
    for word in told:
        assert word in result.stderr
    assert not Path("imported").exists()
    given = {"kernel": "psf.npy", "mask": "holes.png", "physics": "scan.py:op"}[name]
    if words[0] == "reconstruct":
        result = run(*words, f"--{name}", given)
        assert result.exit_code == 0, result.output


def test_old_files_without_references_work_as_they_are(run: Run, here: Path) -> None:
    old = FORMAT1 / "denoise.safetensors"
    result = run("reconstruct", "truth.npy", "--weights", old, "--simulate")
    assert result.exit_code == 0, result.output


def test_names_in_a_file_open_no_file_of_that_name(here: Path) -> None:
    Path("motion:5").write_bytes(b"no image")
    Path("rows:0.5").write_bytes(b"no image")
    for usual in (
        Task(name="deblur", kernel="motion:5"),
        Task(name="inpaint", mask="rows:0.5"),
    ):
        pose(choose_task(usual, {}), (1, 16, 16))
    with pytest.raises(ValueError, match="motion:5"):
        choose_task(None, {"name": "deblur", "kernel": "motion:5"})


def test_content_goes_into_the_file_and_comes_back(here: Path) -> None:
    values = torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel = kernel_from_tensor(values, "the kernel of 'psf.npy'")
    path = save_weights(here / "w.safetensors", "deblur", kernel=kernel)
    with safe_open(path, framework="pt") as file:
        assert torch.equal(file.get_tensor("record/0"), kernel.values)
    found = recorded_task(load_regularizer(path)[1])
    assert found is not None
    assert isinstance(found.kernel, Kernel)
    assert torch.equal(found.kernel.values, kernel.values)
    assert found.kernel.description == kernel.description
    assert (
        pose(found, (1, 8, 8)).description
        == pose(Task(name="deblur", noise=0.05, kernel=kernel), (1, 8, 8)).description
    )
    known = FixedMask(torch.from_numpy(mask() > 0).double(), "the mask 'holes.png'")
    path = save_weights(here / "m.safetensors", "inpaint", mask=known)
    found = recorded_task(load_regularizer(path)[1])
    assert found is not None
    assert isinstance(found.mask, FixedMask)
    assert torch.equal(found.mask.values.double(), known.values)
    assert found.mask.description == known.description


@pytest.mark.parametrize(
    "damaged",
    [
        {"task": "deblur", "kernel": {"description": "a", "values": "record/0"}},
        {"task": "deblur", "kernel": {"description": "a", "values": torch.zeros(3, 3)}},
        {"task": "deblur", "kernel": {"values": torch.ones(3), "description": "a"}},
        {"task": "inpaint", "mask": {"origin": "a", "values": torch.tensor([[0, 2]])}},
        {"task": "inpaint", "mask": {"origin": "a"}},
        {"task": "inpaint", "mask": 0.5},
        {"task": "denoise", "noise": "0.1"},
        {"task": "denoise", "kernel": "motion:5"},
        {"task": "physics", "physics": None},
        {"task": ["denoise"]},
        {"task": None},
        [],
    ],
    ids=str,
)
def test_damaged_content_is_refused(damaged: object) -> None:
    with pytest.raises(WeightsError, match=r"damaged.*--task"):
        recorded_task({"task": damaged})


def test_a_study_writes_down_words() -> None:
    kernel = kernel_from_tensor(torch.ones(3, 3), "the kernel of 'psf.npy'")
    settings = StudySettings(task=Task(name="deblur", kernel=kernel))
    assert settings.task is not None
    assert settings.task.kernel is kernel
    written = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert written["task"]["kernel"] == "the kernel of 'psf.npy'"


def test_what_the_user_gives_is_not_asked_for(here: Path) -> None:
    old = Task(name="deblur", kernel="psf.npy")
    with pytest.raises(UsageError, match="--kernel FILE"):
        choose_task(old, {})
    assert choose_task(old, {"kernel": "motion:5"}).kernel == "motion:5"
    assert choose_task(old, {"name": "denoise"}) == Task(name="denoise")
    own = Task(name="physics", noise=0.1, physics="scan.py:op")
    given = choose_task(own, {"physics": "scan.py:op"})
    assert given == own
