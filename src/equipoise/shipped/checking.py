"""Whether weights that ship are what their card says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from equipoise.bounds import Bound
from equipoise.problems.photographs import photographs
from equipoise.regularizers import Regularizer
from equipoise.shipped.card import Card, Result
from equipoise.shipped.models import shipped
from equipoise.shipped.score import denoising_score

#: The photographs that weights are tried on, and what their set is called on a card.
TRIED, SET = ("astronaut", "camera", "coffee"), "scikit-image, 3 photographs"
#: Side of what is cut from their middle.
CROP = 256
#: Largest differences that pass: of PSNR in dB, and of constants relative to their size.
DECIBELS, SHARE = 0.05, 1e-4


@dataclass(frozen=True)
class Check:
    """One number of a card, and what it is now.

    Args:
        what: a phrase.
        said: the number on the card.
        found: the number that was computed.
        passed: whether they agree.
    """

    what: str
    said: float
    found: float
    passed: bool


def tried_photographs(card: Card) -> Mapping[str, Tensor]:
    """The photographs that weights of this kind are tried on, shape (C, 256, 256)."""
    images = photographs(colour=card.channels == 3, crop=CROP).test
    return {name: images[name] for name in TRIED}


def verify(name: str) -> list[Check]:
    """Compute again what the card of weights says: proved constants and PSNR.

    That the file is as it was written is checked whenever it is loaded.

    Args:
        name: one of ``equipoise models list``.

    Returns:
        One check for each number that can be computed without other data.

    Raises:
        UnknownNameError: if there are no weights of that name.
        WeightsError: if the file is damaged.
    """
    regularizer, card = shipped(name)
    regularizer.set_scales(*card.scales(card.levels[-1].noise))
    traits = regularizer.traits()
    checks = [
        _constant("modulus of R, proved", card.modulus, traits.modulus),
        _constant("Lipschitz constant of R, proved", card.lipschitz, traits.lipschitz),
    ]
    for result in card.results:
        if result.data == SET:
            regularizer.set_scales(*card.scales(result.noise))
            checks.append(_result(result, card, regularizer))
    return checks


def _constant(what: str, said: float, found: Bound | None) -> Check:
    value = math.nan if found is None or not found.proved else found.value
    return Check(what, said, value, abs(value - said) <= SHARE * max(abs(said), 1e-3))


def _result(result: Result, card: Card, regularizer: Regularizer) -> Check:
    score = denoising_score(regularizer, tried_photographs(card), result.noise)
    what = f"PSNR of {result.data}, noise {255 * result.noise:.3g}/255, in dB"
    passed = abs(score.psnr - result.psnr) <= DECIBELS and score.converged == result.converged
    return Check(what, result.psnr, score.psnr, passed)
