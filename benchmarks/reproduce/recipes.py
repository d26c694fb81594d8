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
        strength: held fixed, so that what is proved of R holds for alpha 1; None: learned.
    """

    regularizer: str
    arguments: dict[str, Any]
    noises: tuple[float, ...]
    settings: TrainSettings
    about: str
    ships_as: str
    begins: str | None = None
    colour: bool = False
    strength: float | None = None


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


_FILTERS = [4, 8, 64]


def _settings(seconds: float) -> TrainSettings:
    return TrainSettings(steps=1_000_000, time_budget=seconds, **_USUAL)


RECIPES: dict[str, Recipe] = {
    "crr-25": Recipe(
        "crr", {"filters": _FILTERS}, (25,), _settings(_LONG), "convex ridge", "crr-gray"
    ),
    # Circular, because then the weak convexity that is allowed is used up: denoising is convex.
    "wcrr-25": Recipe(
        "wcrr",
        {"filters": _FILTERS, "padding": "circular"},
        (25,),
        _settings(1500.0),
        "weakly convex ridge",
        "wcrr-gray",
        strength=1.0,
    ),
}
