"""When a run is saved: in time, and before a signal ends it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from continued import facts, run
from learning_problems import (
    quick,
    same,
    weights,
)

from equipoise.learn import Progress, saving
from equipoise.learn.checkpoint import (
    Checkpoint,
    read_checkpoint,
)


def test_checkpoints_wait_for_their_time(tmp_path: Path) -> None:
    path, there = tmp_path / "run.checkpoint", []
    run(quick(checkpoint_seconds=1e6), path=path, watch=lambda _: there.append(path.exists()))
    assert there == [False] * 12
    assert read_checkpoint(path).facts["step"] == 12  # in the end, so that no result is lost


@pytest.mark.parametrize(("interval", "first"), [(120.0, 10.0), (4.0, 4.0)])
def test_the_first_checkpoint_comes_soon(
    interval: float, first: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(saving.time, "perf_counter", lambda: now)
    path, steps = tmp_path / "run.checkpoint", iter(range(99))
    with saving.Saving(path, interval, lambda: Checkpoint({}, {"step": next(steps)})) as saved:
        for later, step in (
            (first - 0.1, None), (first + 0.1, 0), (interval, 0), (first + interval + 1.0, 1),
        ):  # fmt: skip
            now = 1000.0 + later
            saved.after_step()
            assert (read_checkpoint(path).facts["step"] if path.exists() else None) == step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_step_and_a_checkpoint(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The handler that was there gets it; afterwards the run goes on exactly."""

    class ToldError(Exception):
        pass

    def handler(*arguments: object) -> None:
        raise ToldError

    path, settings = tmp_path / "run.checkpoint", quick(checkpoint_seconds=1e6)
    whole = run(settings)
    before = signal.signal(number, handler)
    try:
        with pytest.raises(ToldError):
            run(settings, path=path, watch=lambda p: p.step == 5 and signal.raise_signal(number))
        assert signal.getsignal(number) is handler
        assert read_checkpoint(path).facts["step"] == 5
    finally:
        signal.signal(number, before)
    resumed = run(settings, path=path)
    assert facts(resumed) == facts(whole)
    assert same(weights(resumed.regularizer), weights(whole.regularizer))


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"

    def twice(progress: Progress) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(quick(checkpoint_seconds=1e6), path=path, watch=twice)
    assert not path.exists()


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    found = []
    try:
        path = tmp_path / "run.checkpoint"
        run(quick(), path=path, watch=lambda _: found.append(signal.getsignal(signal.SIGHUP)))
        assert set(found) == {signal.SIG_IGN}
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_goes_on_where_a_signal_does_not_end_it(tmp_path: Path) -> None:
    """One checkpoint for each signal, and the handler is told of each once."""
    told: list[int] = []
    steps: list[int] = []
    path, usual = tmp_path / "run.checkpoint", saving.write_checkpoint

    def watch(progress: Progress) -> None:
        if progress.step in (3, 7):
            signal.raise_signal(signal.SIGTERM)

    def write(path: Path, checkpoint: Checkpoint) -> None:
        steps.append(int(str(checkpoint.facts["step"])))
        usual(path, checkpoint)

    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(saving, "write_checkpoint", write)
            result = run(quick(checkpoint_seconds=1e6), path=path, watch=watch)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (result.steps, steps, told) == (12, [3, 7, 12], [signal.SIGTERM] * 2)


def test_without_a_checkpoint_signals_are_left_alone() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(quick(), watch=lambda _: signal.raise_signal(signal.SIGINT))
