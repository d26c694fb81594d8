"""What is trained, on what, and how long: one recipe for each file of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.reproduce.levels import Pool, Tuning
from benchmarks.reproduce.matching import Matching
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
        ships_as: name of the weights that ship; None: only others begin with them.
        begins: the recipe whose weights it begins with; None: from untrained ones.
        colour: three channels, on colour photographs.
        strength: held fixed, so that what is proved of R holds for alpha 1; None: learned.
        pool: how patches are visited; None: all in turn.
        matching: what goes before; None: nothing.
        tuning: how potentials are learned; None: as the filters.
    """

    regularizer: str
    arguments: dict[str, Any]
    noises: tuple[float, ...]
    settings: TrainSettings
    about: str
    ships_as: str | None
    begins: str | None = None
    colour: bool = False
    strength: float | None = None
    pool: Pool | None = None
    matching: Matching | None = None
    tuning: Tuning | None = None


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
#: Where it goes on: larger patches, because at circular borders those of 40 pixels are all border.
_ON: dict[str, Any] = {
    **_USUAL,
    "batch_size": 6,
    "patch_size": 64,
    "learning_rate": 0.005,
    "first_tolerance": 2e-3,
    "tolerance": 5e-4,
    "adjoint_tolerance": 0.1,
    "seed": 1,
}
_POOL = Pool(patches=96, visits=8)
#: After matching: few evaluations a step, because weights change little between two visits.
_TUNED: dict[str, Any] = {
    **_ON,
    "batch_size": 8,
    "learning_rate": 0.003,
    "first_tolerance": 1e-3,
    "tolerance": 1e-3,
    "adjoint_tolerance": 0.2,
    "augment": False,
}
_OFTEN = Pool(patches=48, visits=12)
_TUNING = Tuning(steps=40, rate=0.05, factor=3.0)
_FILTERS = [4, 8, 64]


def _settings(seconds: float, usual: dict[str, Any] = _USUAL) -> TrainSettings:
    return TrainSettings(steps=1_000_000, time_budget=seconds, **usual)


RECIPES: dict[str, Recipe] = {
    "crr-25": Recipe(
        "crr", {"filters": _FILTERS}, (25,), _settings(3300.0), "convex ridge", "crr-gray"
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
    # Brought nothing: from 28.32 to 28.33 dB on crops of set12 in 957 steps (28.35 after 600).
    "wcrr-25-on": Recipe(
        "wcrr",
        {"filters": _FILTERS, "padding": "circular"},
        (25,),
        _settings(3300.0, _ON),
        "weakly convex ridge",
        None,
        begins="wcrr-25",
        strength=1.0,
        pool=_POOL,
    ),
    # To take the place of wcrr-25 if it is better.
    "wcrr-25-matched": Recipe(
        "wcrr",
        {"filters": _FILTERS, "padding": "circular"},
        (25,),
        _settings(2000.0, _TUNED),
        "weakly convex ridge",
        "wcrr-gray",
        strength=1.0,
        pool=_OFTEN,
        matching=Matching(seconds=800.0),
        tuning=_TUNING,
    ),
    "wcrr-colour-25": Recipe(
        "wcrr",
        {"channels": 3, "filters": [6, 12, 64], "padding": "circular"},
        (25,),
        _settings(2200.0, {**_TUNED, "batch_size": 6}),
        "weakly convex ridge on red, green and blue together",
        "wcrr-colour",
        colour=True,
        strength=1.0,
        pool=_OFTEN,
        matching=Matching(seconds=500.0, patch_size=80, batch_size=6),
        tuning=_TUNING,
    ),
}
