"""Searches in one dimension, and the strength that they find."""

from __future__ import annotations

import pytest

from equipoise.learn.strength import STRIDE, climb, golden_section


@pytest.mark.parametrize("top", [-0.7, 0.0, 0.31, 2.4])
def test_golden_section_brackets_a_maximum(top: float) -> None:
    visited: set[float] = set()

    def value(place: float) -> float:
        visited.add(place)
        return -(abs(place - top) ** 1.5)

    low, high = golden_section(value, -1.0, 3.0, 0.01)
    assert low <= top <= high
    assert high - low <= 0.01
    assert len(visited) == 14  # two to start with, one more for each cut by 0.618


def test_golden_section_finds_maxima_at_the_ends() -> None:
    for sign, end in ((1.0, 3.0), (-1.0, -1.0)):
        low, high = golden_section(lambda t, sign=sign: sign * t, -1.0, 3.0, 0.01)
        assert low <= end <= high


@pytest.mark.parametrize("top", [-4.2, -1.0, -0.2, 0.0, 0.2, 2.6])
def test_climb_comes_within_a_stride(top: float) -> None:
    best = climb(lambda t: -((t - top) ** 2), 0.0, STRIDE, 6.0)
    assert abs(best - top) <= STRIDE / 2 + 1e-9


def test_climb_crosses_plateaus_and_single_dips_and_stops_at_its_limit() -> None:
    def terrace(t: float) -> float:
        return 0.0 if t > -1.6 else 1.0 - abs(t + 3.0)

    assert climb(terrace, 0.0, STRIDE, 6.0) == -3.0
    dip = {-0.5: 1.0, -1.0: 0.5, -1.5: 2.0}
    assert climb(lambda t: dip.get(t, 0.0), 0.0, STRIDE, 6.0) == -1.5
    assert climb(lambda t: -t, 0.0, STRIDE, 2.0) == -2.0
    visited: list[float] = []

    def falling(t: float) -> float:
        visited.append(t)
        return -abs(t)

    assert climb(falling, 0.0, STRIDE, 6.0) == 0.0
    assert set(visited) == {0.0, -0.5, -1.0, 0.5, 1.0}
