"""Two builds are timed by turns, each by its own process."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import versions
from benchmarks.machine import ROOT
from shared_data import shared


@pytest.fixture(autouse=True)
def data() -> Path:
    return shared("ridge_weights")


def test_both_builds_take_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "CASES", ("evaluation",))
    (pairs,) = versions.turns(ROOT, 2, Console(quiet=True)).values()
    assert len(pairs) == 2
    assert all(0 < seconds < 60 for pair in pairs for seconds in pair)


def test_a_case_that_fails_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "CASES", ("no such case",))
    with pytest.raises(SystemExit, match="no such case"):
        versions.turns(ROOT, 2, Console(quiet=True))


@pytest.mark.parametrize(("words", "said"), [([], "src/equipoise"), (["--turns", "1"], "--turns")])
def test_what_cannot_be_measured_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ROOT if words else tmp_path
    with pytest.raises(SystemExit):
        versions.main([str(root), *words])
    assert said in capsys.readouterr().err
