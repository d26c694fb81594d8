"""Progress: bars on a terminal, elsewhere lines with the time to go."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from equipoise.cli import display as module
from equipoise.cli.display import Bars, Lines, display, words_of


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_a_terminal_has_bars_and_a_file_lines() -> None:
    assert isinstance(display(Console(file=io.StringIO(), force_terminal=True)), Bars)
    assert isinstance(display(Console(file=io.StringIO())), Lines)


def test_lines_say_how_much_is_done_and_how_long_it_takes(clock: SimpleNamespace) -> None:
    stream = io.StringIO()
    with Lines(Console(file=stream, width=20), every=1e6) as shown:
        shown.begin("Training [a]", 100, "steps")
        clock.seconds += 5
        shown.update(20, "loss 3")  # from a checkpoint: the first 20 took no time
        clock.seconds += 10
        shown.update(40, "loss 2", landmark=True)
        clock.seconds += 30
        shown.end("loss 1")
        shown.begin("Solving")
        clock.seconds += 7
        shown.update(1, landmark=True)
    assert stream.getvalue().splitlines() == [
        "Training [a]: begins",
        "Training [a]: 40 of 100 steps, 15 s so far, about 30 s to go; loss 2",
        "Training [a]: done in 45 s; loss 1",
        "Solving: begins",
        "Solving: 7 s so far",
        "Solving: 7 s so far",  # it was left before its end
    ]


def test_lines_come_while_the_program_computes() -> None:
    stream = io.StringIO()
    with Lines(Console(file=stream), every=0.02) as shown:
        shown.begin("Solving")
        until = time.monotonic() + 20
        while stream.getvalue().count("so far") < 3 and time.monotonic() < until:
            time.sleep(0.01)
        shown.end()
        before = stream.getvalue()
        time.sleep(0.1)
        assert stream.getvalue() == before  # nothing is going on
    assert before.count("Solving: 0 s so far") >= 3


def test_bars_show_what_came_out() -> None:
    stream = io.StringIO()
    with Bars(Console(file=stream, force_terminal=True, width=90)) as shown:
        shown.begin("Training", 4)
        shown.update(2, "loss 2")
        shown.end("loss 1")
        shown.begin("Solving")
    assert "Training" in stream.getvalue()
    assert "loss 1" in stream.getvalue()
    assert "Solving" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (99, "99 s"), (130, "2 min"), (3590, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert words_of(seconds) == words
