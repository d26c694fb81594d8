"""How many threads compute what."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from equipoise import threads
from equipoise.environment import environment
from equipoise.threads import Pace, Room, at_most, choose_threads, give_way, leave_room


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_manners", threads._Manners())
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


class System:
    """Four processors, and what the system and this process say of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = folder / "stat"
        self.now = self.own = self.others = 0.0
        self.write()
        monkeypatch.setattr(threads, "_STATISTICS", self._file)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5})
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: self.own)

    def write(self) -> None:
        ticks = int((self.own + self.others) * os.sysconf("SC_CLK_TCK"))
        lines = [f"cpu  {2 * ticks} 0 0 77 0 0 0 0 0 0"]
        lines += [f"cpu{k} {ticks if k == 2 else 0} 0 0 9 3 0 0 0 0 0" for k in (0, 1, 2, 5)]
        lines += [f"cpu9 {5 * ticks} 9 9 9 9 9 9 9 9 9", "intr 1 2 3"]
        self._file.write_text("\n".join(lines), encoding="ascii")

    def passes(self, seconds: float, own: float, others: float) -> None:
        """So much time, and processors' time of this process and of others."""
        self.now, self.own, self.others = (
            self.now + seconds,
            self.own + own,
            self.others + others,
        )
        self.write()


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    return System(tmp_path, monkeypatch)


def test_other_programs_are_left_their_processors(system: System) -> None:
    room = Room(3)
    system.passes(1.0, own=3.0, others=0.4)
    assert room.left() == 3  # of four
    system.passes(1.0, own=1.0, others=2.0)
    assert room.left() == 2
    system.passes(0.1, own=0.1, others=0.0)
    assert room.left() == 2  # too soon to tell
    system.passes(1.0, own=1.0, others=5.0)
    assert room.left() == 1
    system.passes(1.0, own=1.0, others=0.0)
    assert room.left() == 3


def test_a_system_that_says_nothing_leaves_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_STATISTICS", tmp_path / "none")
    monkeypatch.setattr(threads, "EVERY", 0.0)
    assert Room(3).left() == 3


def test_the_program_gives_way_and_a_library_does_not(system: System) -> None:
    assert give_way() == 3
    leave_room()
    assert give_way() == 3
    system.passes(1.0, own=1.0, others=3.0)
    assert give_way() == torch.get_num_threads() == 1
    assert environment(torch.device("cpu"))["threads"] == "3, fewer where that is faster"
    system.passes(1.0, own=1.0, others=0.0)
    with at_most(2):
        assert give_way() == 2
    assert give_way() == torch.get_num_threads() == 3


def test_who_chooses_is_obeyed(system: System) -> None:
    leave_room()
    choose_threads(2)
    system.passes(1.0, own=1.0, others=4.0)
    assert give_way() == Pace().choice() == torch.get_num_threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert environment(torch.device("cpu"))["threads"] == "2"


@pytest.mark.parametrize(("alone", "best"), [(0.5, 1), (2.0, 3)])
def test_the_faster_number_is_found(alone: float, best: int) -> None:
    pace = Pace()
    tried = []
    for step in range(10):
        tried.append(pace.choice())
        disturbed = 10.0 if step in (1, 4) else 1.0
        pace.learn(tried[-1], disturbed * (alone if tried[-1] == 1 else 1.0))
    assert tried == [3, 3, 3, 1, 1, 1, *[best] * 4]


def test_fewer_threads_last_as_long_as_the_work() -> None:
    with at_most(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(ValueError, match="inside"), at_most(1):
        raise ValueError("inside")
    assert torch.get_num_threads() == 3


def test_training_tries_both(monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.learn import TrainSettings, learn, trainer
    from equipoise.problems import denoise

    seen: list[int] = []
    step = trainer.accumulate_gradient

    def noted(*arguments: object) -> object:
        seen.append(torch.get_num_threads())
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "accumulate_gradient", noted)
    images = list(torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(0)))
    settings = TrainSettings(steps=7, batch_size=2, patch_size=12, patches=4)
    problem, config = denoise((1, 12, 12)), {"filters": [2]}
    learn("crr", config, problem, images, images[:1], settings, validation_crop=16)
    assert seen[:6] == [3, 3, 3, 1, 1, 1]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("given", "spins"), [({}, "10000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "")])
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
