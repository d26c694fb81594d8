"""What is said of trained weights, and the strength that each noise level asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from equipoise.errors import UsageError, WeightsError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Level(BaseModel):
    """Strength and scale of :class:`equipoise.Scaled` for one noise level.

    Args:
        noise: standard deviation of the noise of images in [0, 1].
        strength: a.
        scale: s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: Positive
    strength: Positive
    scale: Positive


class Result(BaseModel):
    """How well images of a set were denoised.

    Args:
        data: name of the set.
        images: how many it has.
        noise: standard deviation, of images in [0, 1].
        input_psnr: mean of the noisy images, in dB.
        psnr: mean of the restored ones, in dB.
        converged: how many solves did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    images: int
    noise: float
    input_psnr: float
    psnr: float
    converged: int


def _rising(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    if any(low.noise >= high.noise for low, high in pairwise(levels)):
        raise ValueError("the noise of the levels does not rise")
    return levels


class Card(BaseModel):
    """Where weights come from, what they reach, what is proved of them, who may use them.

    Args:
        name: under which they are found.
        about: what R is, in a phrase.
        channels: 1 (acts on every channel by itself) or 3.
        parameters: how many.
        levels: strength and scale by noise, in rising order.
        factors: of alpha by task, where A is not the identity; operators of users take the least.
        trained_on: the images.
        terms: what their owners allow.
        licence: of the weights.
        command: that repeats the training.
        seconds: of training, on one processor core.
        results: on which images which PSNR.
        guarantee: what holds for denoising with them.
        modulus: PROVED monotonicity of R at the level of the largest noise, as computed.
        lipschitz: PROVED Lipschitz constant of R there.
        citation: what to cite beside this package.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str
    channels: int
    parameters: int
    levels: Annotated[tuple[Level, ...], Field(min_length=1), AfterValidator(_rising)]
    factors: dict[str, Positive] = {}
    trained_on: str
    terms: str
    licence: str
    command: str
    seconds: float
    results: tuple[Result, ...] = ()
    guarantee: str
    modulus: float
    lipschitz: float
    citation: str

    def scales(self, noise: float) -> tuple[float, float]:
        """Strength and scale for a noise level, see :func:`scales_at`."""
        return scales_at(self.levels, noise)

    def factor(self, task: str) -> float:
        """What alpha is multiplied by in a task; the smallest for operators of users."""
        usual = 1.0 if task == "denoise" else min(self.factors.values(), default=1.0)
        return self.factors.get(task, usual)


def card_of(record: dict[str, Any]) -> Card | None:
    """The card in a weights file's record; None where there is none.

    Raises:
        WeightsError: if it is damaged.
    """
    found = record.get("card")
    if found is None:
        return None
    try:
        return Card.model_validate(found)
    except ValueError as error:
        raise WeightsError("The card in the weights' record is damaged.") from error


def scales_at(levels: Sequence[Level], noise: float) -> tuple[float, float]:
    """Strength and scale between the levels, and beyond them.

    Formula: the logarithms of both are piecewise linear in that of the noise; beyond the levels the
    nearest piece goes on.

    Args:
        levels: at least one, in rising order of noise; a single one holds for every noise.
        noise: standard deviation of the noise of images in [0, 1], positive.

    Raises:
        UsageError: if the noise is not positive.
    """
    if not (noise > 0 and math.isfinite(noise)):
        raise UsageError(f"The standard deviation of noise is positive, got {noise}.")
    if len(levels) == 1:
        return levels[0].strength, levels[0].scale
    pieces = list(pairwise(levels))
    low, high = next((pair for pair in pieces if noise <= pair[1].noise), pieces[-1])
    share = math.log(noise / low.noise) / math.log(high.noise / low.noise)
    strength = low.strength * (high.strength / low.strength) ** share
    return strength, low.scale * (high.scale / low.scale) ** share
