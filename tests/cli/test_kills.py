"""Runs of every command that are killed at any time, and what the same command makes of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forks import Ended, Forks
from whole_runs import (
    COMMANDS,
    Whole,
    furnish,
    others,
    require_readable_checkpoints,
    results,
)

pytestmark = pytest.mark.slow

#: How often each command is killed: 50 times in all.
TIMES = {"train": 14, "compare": 12, "reconstruct": 12, "certify": 6, "study": 6}
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
ASKED = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as found:
        yield found


@pytest.fixture(scope="module")
def wholes(
    forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Ended, dict[str, object]]]:
    """Runs that nobody disturbs: how they ended and what they made."""
    found = {}
    for name, whole in COMMANDS.items():
        folder = furnish(tmp_path_factory.mktemp(name) / "here")
        ended = forks.run(folder, *whole.words)
        assert ended.code == 0, ended.err
        assert others(whole, folder) == []
        found[name] = ended, results(whole, folder)
        assert list(found[name][1]) == list(whole.outputs)
    return found


@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name, times in TIMES.items() for seed in range(times)]
)
def test_a_killed_run_leaves_nothing_half_done_and_is_done_again(
    name: str,
    seed: int,
    forks: Forks,
    wholes: dict[str, tuple[Ended, dict[str, object]]],
    tmp_path: Path,
) -> None:
    whole, (undisturbed, made) = COMMANDS[name], wholes[name]
    folder, number = furnish(tmp_path / "here"), SIGNALS[seed % len(SIGNALS)]
    killed = kill(forks, whole, folder, undisturbed, number, random.Random(f"{name} {seed}"))

    there = results(whole, folder)
    assert there == {path: made[path] for path in there}  # whole files or none
    checkpoints = require_readable_checkpoints(folder)
    if number in ASKED:
        assert killed.code in (0, ASKED[number]), killed.err
        assert "Traceback" not in killed.err
        if killed.code and name == "train":
            steps = killed.err.count("begins") and killed.steps > 2
            assert checkpoints or there or not steps

    again = forks.run(folder, *whole.words, *whole.again)
    if again.code == 2:  # it had been done, and only did not come to say so
        assert list(there) == list(whole.outputs)
        assert "Already there" in again.err
    else:
        assert again.code == 0, again.err
    assert results(whole, folder) == made
    assert others(whole, folder) == []


def kill(
    forks: Forks,
    whole: Whole,
    folder: Path,
    undisturbed: Ended,
    number: signal.Signals,
    chance: random.Random,
) -> Ended:
    """Kill a run before one of its events, or at some time if it goes on for long enough."""
    if chance.random() < 0.8:
        event = chance.randint(1, undisturbed.events)
        killed = forks.run(folder, *whole.words, kill=[number, event])
        assert number in ASKED or killed.code == -number
        return killed
    process = forks.start(folder, *whole.words)
    time.sleep(chance.random() * undisturbed.seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
    killed = forks.end()
    # A signal that comes before the command has begun has its usual effect.
    early = killed.events == 0 and killed.code in (-number, 1)
    if early and number in ASKED:
        return Ended(ASKED[number], killed.out, "", 0, 0, killed.seconds)
    return killed


def test_there_are_fifty() -> None:
    assert sum(TIMES.values()) == 50
