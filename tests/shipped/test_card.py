"""Cards: strengths between noise levels, and what is refused."""

from __future__ import annotations

import math

import pytest

from equipoise.errors import UsageError, WeightsError
from equipoise.shipped import DEFAULT, shipped
from equipoise.shipped.card import Level, card_of, scales_at

LEVELS = (
    Level(noise=0.02, strength=1.0, scale=8.0),
    Level(noise=0.08, strength=4.0, scale=8.0),
    Level(noise=0.16, strength=12.0, scale=4.0),
)


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (0.02, (1.0, 8.0)),
        (0.04, (2.0, 8.0)),
        (0.08, (4.0, 8.0)),
        (0.08 * math.sqrt(2.0), (4.0 * math.sqrt(3.0), 4.0 * math.sqrt(2.0))),
        (0.16, (12.0, 4.0)),
        (0.32, (36.0, 2.0)),
        (0.01, (0.5, 8.0)),
    ],
)
def test_logarithms_are_piecewise_linear(noise: float, expected: tuple[float, float]) -> None:
    assert scales_at(LEVELS, noise) == pytest.approx(expected, rel=1e-12)


def test_one_level_holds_for_all() -> None:
    assert scales_at(LEVELS[:1], 0.5) == (1.0, 8.0)


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf])
def test_noise_is_positive(noise: float) -> None:
    with pytest.raises(UsageError, match="positive"):
        scales_at(LEVELS, noise)


def test_a_damaged_card_is_refused() -> None:
    assert card_of({}) is None
    with pytest.raises(WeightsError, match="card"):
        card_of({"card": {"name": "x"}})


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [{"noise": 0.0, "strength": 1.0, "scale": 1.0}],
        [{"noise": 0.1, "strength": -1.0, "scale": 1.0}],
        [{"noise": 0.1, "strength": 1.0, "scale": math.inf}],
        [{"noise": 0.1, "strength": 1.0, "scale": 1.0}] * 2,
    ],
)
def test_levels_without_strength_are_refused(levels: list[dict[str, float]]) -> None:
    _, card = shipped(DEFAULT)
    assert card_of({"card": card.model_dump(mode="json")}) == card
    with pytest.raises(WeightsError, match="card"):
        card_of({"card": card.model_dump(mode="json") | {"levels": levels}})


def test_alpha_has_a_factor_for_each_task() -> None:
    _, card = shipped(DEFAULT)
    card = card.model_copy(update={"factors": {"inpaint": 0.5, "deblur": 0.2}})
    assert [card.factor(task) for task in ("denoise", "inpaint", "deblur")] == [1.0, 0.5, 0.2]
    assert card.factor("physics") == 0.2
    assert card.model_copy(update={"factors": {}}).factor("deblur") == 1.0
