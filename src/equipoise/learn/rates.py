"""Learning rates that suit each regulariser, and how often each mode is validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.settings.training import SOURCE, Mode, TrainSettings

#: Pairs carry their scale in the filters and take long steps; the others hold weights, scales and
#: slopes as logarithms, where a step is a factor.
USUAL_RATES = {
    "tied-conv": 0.3,
    "untied-conv": 0.3,
    "tied-dense": 0.3,
    "untied-dense": 0.3,
    "contractive": 0.01,
}
OTHER_RATE = 0.05

#: Steps between two validations in the mode without a lower-level solve, whose steps are too cheap
#: to be validated as often as the others.
SOURCE_INTERVAL = 200


def usual_learning_rate(name: str) -> float:
    """Adam's learning rate at the start for a regulariser of the catalogue."""
    return USUAL_RATES.get(name, OTHER_RATE)


def suited(name: str, mode: Mode, given: Mapping[str, Any]) -> TrainSettings:
    """Settings of a run with the learning rate and the interval that suit, unless given.

    Args:
        name: the regulariser's name in the catalogue.
        mode: way of learning.
        given: other settings.
    """
    usual: dict[str, Any] = {"mode": mode, "learning_rate": usual_learning_rate(name)}
    if mode == SOURCE:
        usual["validate_every"] = SOURCE_INTERVAL
    return TrainSettings(**{**usual, **given})
