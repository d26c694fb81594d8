"""What is trained, on what, and how long: one recipe for each file of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from equipoise.settings.training import TrainSettings


@dataclass(frozen=True)
class Recipe:
    """One training for denoising.

    Args:
        regularizer: name in the catalogue.
        arguments: of its constructor.
        noises: standard deviations in 255ths, in rising order.
        settings: of the training.
        about: what it is, in a few words.
        ships_as: name of the weights that ship.
        begins: the recipe whose weights it begins with; None: from untrained ones.
        colour: three channels, on colour photographs.
    """

    regularizer: str
    arguments: dict[str, Any]
    noises: tuple[float, ...]
    settings: TrainSettings
    about: str
    ships_as: str
    begins: str | None = None
    colour: bool = False


#: Learning rates fall to a fiftieth of this; the tolerance of solves from the first to the second.
_USUAL: dict[str, Any] = {
    "batch_size": 8,
    "patch_size": 40,
    "patches": 3000,
    "learning_rate": 0.03,
    "first_tolerance": 1e-3,
    "tolerance": 2e-4,
    "validate_every": 200,
    "augment": True,
}
#: Seconds of a training, beside another one on two processors.
_LONG = 3300.0


def _ridge(name: str, about: str, ships_as: str) -> Recipe:
    settings = TrainSettings(steps=1_000_000, time_budget=_LONG, **_USUAL)
    return Recipe(name, {"filters": [4, 8, 64]}, (25,), settings, about, ships_as)


RECIPES: dict[str, Recipe] = {
    "crr-25": _ridge("crr", "convex ridge", "crr-gray"),
    "wcrr-25": _ridge("wcrr", "weakly convex ridge", "wcrr-gray"),
}
