"""Random problems against float64: some of the benchmark's, and one that found a bound beaten."""

from __future__ import annotations

import pytest

from benchmarks import trust


@pytest.mark.parametrize("seed", [*range(6), 4967])
def test_nothing_false_is_claimed(seed: int) -> None:
    # 4967: a bound in float32 next to outliers
    found = trust.examine(seed)
    assert found.false == []
    assert sum(found.usual.values()) + sum(found.unusual.values()) > 0
