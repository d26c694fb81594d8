"""One evaluation leads through few files: the count may fall, and rises only on purpose."""

from __future__ import annotations

from itertools import pairwise

from benchmarks.walk import evaluation


def test_an_evaluation_stays_within_few_files() -> None:
    files = evaluation()
    assert "equilibrium.py" in files
    assert len(set(files)) <= 8, sorted(set(files))
    assert sum(a != b for a, b in pairwise(files)) <= 14
