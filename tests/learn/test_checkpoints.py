"""Runs that are interrupted and continued, and checkpoints that must be refused."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from continued import facts, run, stop_at
from learning_problems import (
    SIZE,
    pose,
    quick,
    same,
    scenes,
    small_bank,
    small_field,
    small_validation,
    weights,
)
from safetensors.torch import save_file
from torch import Tensor

from equipoise import files
from equipoise.errors import OutputError, OutputWarning, WeightsError
from equipoise.learn import Progress, TrainingResult, learn, train
from equipoise.learn.checkpoint import (
    Checkpoint,
    grouped,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from equipoise.learn.sketch import agrees, sketch
from equipoise.problems import Problem, deblur, from_physics, inpaint, load_user_physics

WARM = {"pretrain": "source-condition", "pretrain_steps": 4}


@pytest.mark.parametrize(
    ("field", "options", "step"),
    [
        ("tied-conv", {"mode": "bilevel"}, 7),
        ("tied-conv", {"mode": "bilevel", "patience": 5}, 9),
        ("tied-conv", {"mode": "bilevel", "augment": True}, 6),
        ("untied-conv", {"mode": "source-condition", "augment": True}, 5),
        ("untied-conv", {"mode": "equilibrium", "jacobian_penalty": 0.5}, 5),
        ("untied-conv", {"mode": "jacobian-free"}, 2),
        ("untied-conv", {"mode": "source-condition"}, 7),
        ("tied-conv", {"mode": "bilevel", **WARM}, 3),
        ("untied-conv", {"mode": "equilibrium", **WARM}, 5),
        ("tied-conv", {"mode": "jacobian-free", **WARM}, 10),
    ],
)
def test_an_interrupted_run_goes_on_exactly(
    field: str, options: dict[str, Any], step: int, tmp_path: Path
) -> None:
    settings, path = quick(**options), tmp_path / "run.checkpoint"
    whole = run(settings, field)
    with pytest.raises(KeyboardInterrupt):
        run(settings, field, path, stop_at(step, KeyboardInterrupt()))
    # The interruption came before the checkpoint of its step was written.
    assert read_checkpoint(path).facts["step"] == step - 1
    told: list[int] = []
    resumed = run(settings, field, path, lambda progress: told.append(progress.step))
    assert told == list(range(step, settings.total_steps + 1))
    assert resumed.pretrain_steps == whole.pretrain_steps == (4 if settings.pretrain else 0)
    assert facts(resumed) == facts(whole)
    assert same(weights(resumed.regularizer), weights(whole.regularizer))


PROGRAM = """
import os, signal, sys
from pathlib import Path
from learning_problems import pose, quick, scenes
from equipoise.learn import learn
from test_checkpoints import RECIPES
def watch(progress):
    if progress.step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
learn(**RECIPES[sys.argv[2]], checkpoint=Path(sys.argv[1]), on_progress=watch)
"""
RECIPE: dict[str, Any] = {
    "name": "untied-conv",
    "config": {"filters": 3, "kernel_size": 3},
    "problem": pose(),
    "training": scenes(3),
    "held_out": scenes(2, seed=9),
    "settings": quick(mode="equilibrium", jacobian_penalty=0.1, loss="huber"),
    "validation_crop": 16,
}
RECIPES = {
    "equilibrium": RECIPE,
    "source-condition": {
        **RECIPE,
        "name": "contractive",
        "config": {"width": 3, "depth": 1, "kernel_size": 3},
        "settings": quick(mode="source-condition"),
    },
    "turned, solutions of four patches kept": {
        **RECIPE,
        "settings": quick(mode="equilibrium", augment=True, warm_start_bytes=4 * SIZE**2 * 8),
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_killed_process_goes_on_exactly(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    torch.manual_seed(5)
    whole = learn(**RECIPES[name])
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), name],
        cwd=Path(__file__).parent,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "OMP_NUM_THREADS": threads()},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert read_checkpoint(path).facts["step"] == 5
    resumed = learn(**RECIPES[name], checkpoint=path)
    assert facts(resumed) == facts(whole)
    assert same(weights(resumed.regularizer), weights(whole.regularizer))
    assert resumed.log.seconds == sorted(resumed.log.seconds)  # the clock goes on as well


def threads() -> str:
    """The thread count of this process: other counts round differently."""
    return str(torch.get_num_threads())


def test_a_finished_run_is_repeated_from_its_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    whole = run(quick(), path=path)
    again = run(quick(), path=path)
    assert facts(again) == facts(whole)
    assert same(weights(again.regularizer), weights(whole.regularizer))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The checkpoint of an interrupted run."""
    path = tmp_path / "run.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        run(quick(), path=path, watch=stop_at(3, KeyboardInterrupt()))
    return path


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.2}, {"steps": 13}, {"seed": 1}, {"loss": "l1"}]
)
def test_other_settings_are_refused(saved: Path, change: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="other settings or data"):
        run(quick(**change), path=saved)


def test_how_long_and_how_often_may_change(saved: Path) -> None:
    result = run(quick(checkpoint_seconds=50.0, time_budget=1e5), path=saved)
    assert result.steps == 12


@pytest.mark.parametrize(
    "change",
    [
        {"bank": small_bank(seed=4)},
        {"bank": small_bank(pose(sigma=0.05))},
        {"validation": small_validation(tolerance=1e-3)},
        {"regularizer": small_field(filters=5)},
        {"regularizer": small_field(activation="relu")},
        {"regularizer": small_field(padding="circular")},
    ],
    ids=["patches", "noise", "tolerance", "width", "activation", "padding"],
)
def test_other_data_and_regularizers_are_refused(saved: Path, change: dict[str, Any]) -> None:
    usual = {
        "regularizer": small_field(),
        "bank": small_bank(),
        "validation": small_validation(),
        "settings": quick(),
    }
    with pytest.raises(WeightsError, match="other settings or data"):
        train(**{**usual, **change}, checkpoint=saved)


def test_other_held_out_images_are_refused(saved: Path) -> None:
    validation = small_validation()
    validation.truth = validation.truth[:, :, :12, :12]
    with pytest.raises(WeightsError, match="other settings or data"):
        train(small_field(), small_bank(), validation, quick(), checkpoint=saved)


OPERATOR = """
import deepinv, torch
def blur(shape):
    none = [0.0, 0.0, 0.0]
    return deepinv.physics.Blur(filter=torch.tensor([[[none, {}, none]]]), padding='circular')
"""


def changed_content(what: str, folder: Path, when: int) -> Problem:
    """Of one name and description at both times, and different content."""
    shape, options = (1, SIZE, SIZE), {"sigma": 0.1, "dtype": torch.float64}
    row = [0.2, 0.5, 0.3] if when else [0.3, 0.5, 0.2]
    if what == "kernel":
        return deblur(shape, torch.tensor([row]), **options)
    if what == "kernel file":
        np.save(folder / "psf.npy", np.array([row]))
        return deblur(shape, folder / "psf.npy", **options)
    if what == "mask":
        known = (torch.arange(24 * 24) % 4 != 2 * when).double().reshape(24, 24)
        return inpaint((1, 24, 24), known, **options)
    if what == "seed of the mask":
        return inpaint(shape, 0.5, seed=when, **options)
    file = folder / "own.py"
    file.write_text(OPERATOR.format(str(row)))
    return from_physics(load_user_physics(f"{file}:blur"), shape, **options)


@pytest.mark.parametrize("what", ["kernel", "kernel file", "mask", "seed of the mask", "operator"])
def test_other_content_under_the_same_name_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    problems = [changed_content(what, tmp_path, when) for when in (0, 1, 0)]
    assert problems[0].description == problems[1].description

    def go_on(problem: Problem, watch: Callable[[Progress], None] | None = None) -> TrainingResult:
        bank, held_out = small_bank(problem), small_validation(problem)
        return train(small_field(), bank, held_out, quick(), checkpoint=path, on_progress=watch)

    with pytest.raises(KeyboardInterrupt):
        go_on(problems[0], stop_at(3, KeyboardInterrupt()))
    before = path.read_bytes()
    with pytest.raises(WeightsError, match=r"other measurements.*kernel, mask or operator changed"):
        go_on(problems[1])
    assert path.read_bytes() == before
    result = go_on(problems[2])
    assert (result.steps, result.notes) == (12, ())


def test_other_images_with_the_same_sum_are_refused(saved: Path) -> None:
    bank = small_bank()
    bank.truth = bank.truth.flip(-1)
    with pytest.raises(WeightsError, match="other training images now"):
        train(small_field(), bank, small_validation(), quick(), checkpoint=saved)


def test_sketches_forgive_rounding_only() -> None:
    generator = torch.Generator().manual_seed(1)
    for dtype in (torch.float32, torch.complex64):
        y = torch.randn(5, 2, 8, 8, generator=generator, dtype=dtype)
        assert sketch(y).shape == (5,)
        assert agrees(sketch(y), y * (1 + 3e-7))
        assert not agrees(sketch(y), y * (1 + 1e-3))
        assert not agrees(sketch(y), y[[1, 0, 2, 3, 4]])
        assert not agrees(sketch(y), y[:4])
        other = y.clone()
        other[3, 1, 2, 2] += 0.1
        assert not agrees(sketch(y), other)
    assert not agrees(None, y)


def test_format_1_goes_on_and_says_what_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    old = Path(__file__).parents[1] / "format1" / "checkpoint.safetensors"
    path.write_bytes(old.read_bytes())
    assert read_checkpoint(path).facts["step"] == 4
    bank = small_bank(count=4)
    told: list[int] = []
    result = train(
        small_field(),
        bank,
        small_validation(),
        quick(tolerance=1e-4, first_tolerance=5e-4),
        checkpoint=path,
        on_progress=lambda progress: told.append(progress.step),
    )
    assert told == list(range(5, 13))
    assert "which kernel, mask or operator" in result.notes[0]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "some.checkpoint"
    group = {"a": torch.rand(4), "step": torch.tensor(3)}
    write_checkpoint(path, Checkpoint(grouped({"one": group}), {"step": 3, "log": [0.5, 1e-3]}))
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 5):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        with pytest.raises(WeightsError):
            read_checkpoint(path)


def test_checkpoints_that_lack_something_are_damaged(saved: Path) -> None:
    whole = read_checkpoint(saved)
    for lost in ("weights/log_scale", "bank/x", "validation/x", "log", "step"):
        tensors = {name: t for name, t in whole.tensors.items() if name != lost}
        facts = {name: fact for name, fact in whole.facts.items() if name != lost}
        if lost == "bank/x":
            tensors[lost] = torch.zeros(3, 3)
        write_checkpoint(saved, Checkpoint(tensors, facts))
        with pytest.raises(WeightsError, match=r"damaged.*delete it"):
            run(quick(), path=saved)


def test_damaged_and_foreign_checkpoints_are_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no checkpoint", whole[10:]):
        saved.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot be read"):
            run(quick(), path=saved)
        assert saved.read_bytes() == content
    save_file({"weight": torch.zeros(3)}, saved)
    with pytest.raises(WeightsError, match="not a checkpoint"):
        run(quick(), path=saved)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_the_previous_checkpoint_survives_a_full_disk(saved: Path) -> None:
    before = saved.read_bytes()
    whole = run(quick())
    with full_disk(1000), pytest.warns(OutputWarning, match=saved.name) as told:
        result = run(quick(), path=saved)
    assert len(told) == 1
    assert facts(result) == facts(whole)  # it went on
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]
    assert run(quick(), path=saved).steps == 12  # and it can be continued


def die(*args: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    die()


@pytest.mark.parametrize(
    ("place", "name", "fault"),
    [(Path, "write_bytes", half), (files, "_flush", die), (files.os, "replace", die)],
    ids=["in the middle", "before the disk has it", "before the exchange"],
)
def test_the_previous_checkpoint_survives_a_kill_while_writing(
    place: Any, name: str, fault: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "run.checkpoint"
    write_checkpoint(path, Checkpoint({"one/a": torch.zeros(5)}, {"step": 1}))
    before = path.read_bytes()
    child = os.fork()
    if child == 0:
        setattr(place, name, fault)
        write_checkpoint(path, Checkpoint({"one/a": torch.ones(9)}, {"step": 2}))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_bytes() == before
    assert read_checkpoint(path).facts == {"step": 1}
    (rest,) = (file for file in tmp_path.iterdir() if file != path)
    assert rest.name.startswith(".")  # what was half written, under another name


def test_a_disk_that_is_full_leaves_the_previous_checkpoint_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    write_checkpoint(path, Checkpoint({"one/a": torch.zeros(5)}, {"step": 1}))
    before = path.read_bytes()
    with full_disk(1000), pytest.raises(OutputError, match="free space"):
        write_checkpoint(path, Checkpoint({"one/a": torch.zeros(5000)}, {"step": 2}))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_checkpoint_is_on_the_disk_before_the_old_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = tmp_path / "run.checkpoint", []

    def traced(name: str) -> Callable[..., None]:
        original = getattr(files.os, name)

        def call(*args: Any) -> None:
            events.append(name)
            original(*args)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(files.os, name, traced(name))
    write_checkpoint(path, Checkpoint({"one/a": torch.zeros(5)}, {"step": 1}))
    assert events == ["fsync", "replace"]


def test_checkpoints_keep_tensors_and_facts(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(2)}
    path = tmp_path / "some.checkpoint"
    known = {"step": 3, "loss": [0.1, float("nan")], "best": float("-inf")}
    write_checkpoint(path, Checkpoint(grouped({"one": tensors, "two": tensors}), known))
    found = read_checkpoint(path)
    assert found.group("one").keys() == {"a", "b"}
    assert torch.equal(found.group("two")["a"], tensors["a"])
    assert found.facts["best"] == float("-inf")
    assert found.facts["loss"] == pytest.approx([0.1, float("nan")], nan_ok=True)


def test_optimizer_state_goes_to_the_same_parameters_only() -> None:
    first = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    source = torch.optim.Adam(first, lr=0.1)
    for parameter in first:
        parameter.grad = torch.full_like(parameter, 2.0)
    source.step()
    tensors = optimizer_tensors(source)
    second = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    target = torch.optim.Adam(second, lr=0.1)
    restore_optimizer(target, tensors)
    assert torch.equal(target.state[second[1]]["exp_avg"], source.state[first[1]]["exp_avg"])
    with pytest.raises(ValueError, match="another regulariser"):
        restore_optimizer(torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]), tensors)
