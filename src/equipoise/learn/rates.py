"""Learning rates that suit each regulariser, and how often each mode is validated."""

from __future__ import annotations

from equipoise.learn.settings import SOURCE, Mode, TrainSettings

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
