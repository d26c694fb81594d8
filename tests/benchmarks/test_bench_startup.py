"""Start-up: what is run, and what is made of the times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import startup
from benchmarks.machine import ROOT
from benchmarks.timing import Timing
from equipoise.images import read_image

TOOK = {
    startup.LIBRARIES: Timing(2.1, 2.0, 2.2, 3),
    startup.HELP: Timing(0.5, 0.4, 0.6, 3),
    startup.RECONSTRUCT: Timing(2.7, 2.6, 2.9, 3),
    startup.RECONSTRUCT + startup.EARLIER: Timing(5.1, 5.0, 5.2, 3),
}


def test_the_program_restores_the_image(tmp_path: Path) -> None:
    words = startup._write_inputs(tmp_path, ROOT)
    startup._process(ROOT, words)
    assert read_image(tmp_path / "image_restored.png").pixels.shape == (1, 64, 64)


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no_such_module"):
        startup._process(ROOT, ["-c", "import no_such_module"])


def test_libraries_are_subtracted_and_the_ratio_is_of_the_rest() -> None:
    values = {name: startup._values(each, TOOK[startup.LIBRARIES]) for name, each in TOOK.items()}
    assert values[startup.RECONSTRUCT]["beyond"] == pytest.approx(0.6)
    assert values[startup.HELP]["beyond"] is None
    own, ratio = startup._findings(TOOK)
    assert "0.600 s" in own
    assert "0.20x" in ratio
    assert "reaches the aim" in ratio
    alone = {name: each for name, each in TOOK.items() if not name.endswith(startup.EARLIER)}
    assert startup._findings(alone) == [own]
    lost = {**TOOK, startup.RECONSTRUCT: TOOK[startup.LIBRARIES]}
    assert all("–" in sentence for sentence in startup._findings(lost))
