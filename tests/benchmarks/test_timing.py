"""Medians, turns and limits of timings, with a clock that the test sets."""

from __future__ import annotations

import pytest

from benchmarks import timing


class Clock:
    """Time passes only in :meth:`work`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def work(self, name: str, seconds: list[float]) -> None:
        self.calls.append(name)
        self.now += seconds.pop(0)


def test_median_and_extremes_without_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    seconds = [100.0, 3.0, 1.0, 8.0, 2.0]
    found = timing.measure(lambda: clock.work("a", seconds), repeats=4)
    assert found == timing.Timing(median=2.5, low=1.0, high=8.0, repeats=4)


def test_functions_take_turns_in_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    slow, fast = [5.0] * 9, [1.0] * 9
    found = timing.compare(
        {"slow": lambda: clock.work("s", slow), "fast": lambda: clock.work("f", fast)},
        repeats=2,
        warmup=1,
        burst=2,
    )
    assert "".join(clock.calls) == "sf" + "ssff" * 2
    assert (found["slow"].median, found["fast"].median) == (5.0, 1.0)
    assert found["slow"].repeats == 4


def test_no_turn_begins_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    seconds = [1.0] + [4.0] * 9
    found = timing.measure(lambda: clock.work("a", seconds), repeats=9, limit_s=7.0)
    assert found.repeats == 2
    assert timing.measure(lambda: clock.work("a", seconds), repeats=9, limit_s=0.0).repeats == 1


def test_no_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats"):
        timing.measure(lambda: None, repeats=0)


def test_seconds_are_those_that_pass() -> None:
    found = timing.measure(lambda: timing.time.sleep(0.02), repeats=3)
    assert 0.02 <= found.low <= found.median <= found.high < 2.0
