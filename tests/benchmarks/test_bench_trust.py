"""Random problems against float64: some of the benchmark's, and whether it finds faults."""

from __future__ import annotations

import pytest

from benchmarks import trust
from equipoise import scales


@pytest.mark.parametrize("seed", [*range(6), 735, 1365, 4967, 7518, 7969, 8321, 9214])
def test_nothing_false_is_claimed(seed: int) -> None:
    # 735, 1365: corners of blurs without padding; 4967: a bound in float32 next to outliers; 7969:
    # pixels that nothing sees, where total variation is nearly flat; 7518, 8321: unseen pixels
    # where R bends less than elsewhere; 9214: data that are zero
    found = trust.examine(seed)
    assert found.false == []
    assert sum(found.usual.values()) + sum(found.unusual.values()) > 0


@pytest.mark.parametrize(
    ("name", "fault", "seed"),
    [
        ("_weights", lambda *_: None, 25),
        ("scale_above_rounding", lambda size, terms, dtype: terms, 65),
    ],
)
def test_a_gauge_that_is_too_lenient_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: object, seed: int
) -> None:
    monkeypatch.setattr(scales, name, fault)
    assert any("distance / allowed" in line for line in trust.examine(seed).false)
