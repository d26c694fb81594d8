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

#: Steps without a lower-level solve are too cheap to be validated as often as the others.
USUAL_INTERVALS: dict[Mode, int] = {SOURCE: 200}


def usual_learning_rate(name: str) -> float:
    """Adam's learning rate at the start for a regulariser of the catalogue.

    Args:
        name: name in the catalogue.
    """
    return USUAL_RATES.get(name, OTHER_RATE)


def usual_validation_interval(mode: Mode) -> int:
    """Steps between two validations of a mode.

    Args:
        mode: way of learning.
    """
    usual: int = TrainSettings.model_fields["validate_every"].default
    return USUAL_INTERVALS.get(mode, usual)


def suited(name: str, mode: Mode, given: Mapping[str, Any]) -> TrainSettings:
    """Settings of a run with the learning rate and the interval that suit, unless given.

    Args:
        name: the regulariser's name in the catalogue.
        mode: way of learning.
        given: other settings.
    """
    usual = {
        "mode": mode,
        "learning_rate": usual_learning_rate(name),
        "validate_every": usual_validation_interval(mode),
    }
    return TrainSettings(**{**usual, **given})
