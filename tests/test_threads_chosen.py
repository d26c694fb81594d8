"""How many threads compute what."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from equipoise.environment import environment
from equipoise.threads import FEW_PIXELS, choose_threads, threads_for


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_little_work_is_done_by_one_thread() -> None:
    with threads_for(FEW_PIXELS - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with threads_for(FEW_PIXELS):
        assert torch.get_num_threads() == 3
    with pytest.raises(ValueError, match="inside"), threads_for(1):
        raise ValueError("inside")
    assert torch.get_num_threads() == 3
    assert environment(torch.device("cpu"))["threads"] == "3, 1 for training on small patches"


def test_who_chooses_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with threads_for(1):
        assert torch.get_num_threads() == 3
    choose_threads(2)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    with threads_for(1):
        assert torch.get_num_threads() == 2
    assert environment(torch.device("cpu"))["threads"] == "2"


def test_training_steps_take_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.learn import TrainSettings, learn, trainer
    from equipoise.problems import denoise

    seen: list[int] = []
    step = trainer.accumulate_gradient

    def noted(*arguments: object) -> object:
        seen.append(torch.get_num_threads())
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "accumulate_gradient", noted)
    images = list(torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(0)))
    settings = TrainSettings(steps=2, batch_size=2, patch_size=12, patches=4)
    problem, config = denoise((1, 12, 12)), {"filters": [2]}
    learn("crr", config, problem, images, images[:1], settings, validation_crop=16)
    assert seen == [1, 1]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("given", "spins"), [({}, "1000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "")])
def test_threads_of_the_program_wait_for_a_short_time(given: dict[str, str], spins: str) -> None:
    code = (
        "import os, sys; sys.argv = ['equipoise', '--version']\n"
        "from equipoise.cli import main\n"
        "try: main()\nexcept SystemExit: print('spins', os.environ.get('GOMP_SPINCOUNT', ''))"
    )
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | given
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.partition("spins")[2].strip() == spins
