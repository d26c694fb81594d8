"""Learning rates that suit the parametrisation of each regulariser."""

from __future__ import annotations

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


def usual_learning_rate(name: str) -> float:
    """Adam's learning rate at the start for a regulariser of the catalogue.

    Args:
        name: name in the catalogue.
    """
    return USUAL_RATES.get(name, OTHER_RATE)
