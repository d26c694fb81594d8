"""Where the exponents of theory are sharp: which case of the spectrum a study is in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from equipoise.equation import Equation

#: ``across``: the singular values reach across ``sqrt(alpha mu)`` for all alpha of the study, and
#: about as many lie near it for the smallest alpha as for the largest; ``gap``: every nonzero
#: singular value is above; ``between``: neither.
Regime = Literal["across", "gap", "between", "unknown"]

#: By which factor the numbers of singular values near ``sqrt(alpha mu)`` may differ over the study.
EVEN = 2.0
#: How far beyond ``sqrt(alpha mu)`` (factor) a spectrum must reach to count as reaching across.
MARGIN = 4.0


@dataclass(frozen=True)
class Spectrum:
    """Case of a study.

    Args:
        regime: see :data:`Regime`.
        kernel: whether A has a kernel; None where it is not known.
        words: the same in one sentence.
    """

    regime: Regime
    kernel: bool | None
    words: str

    def exponents(self, power: float) -> dict[str, float | None]:
        """Exponents of theory for ``alpha = c delta^power`` (theory, Thm 5, and the gap case).

        For ``residual`` and ``data`` both terms of ``delta + alpha ||w||`` count; ``bregman`` and
        ``norm`` follow from them, squared and divided by alpha or by the gap.
        """
        shift = min(1.0, power)
        lost = 0.0 if self.regime == "gap" else power
        return {"residual": shift, "bregman": 2 * shift - lost, "norm": shift - 0.5 * lost}


def spectrum_of(equation: Equation, alphas: torch.Tensor) -> Spectrum:
    """Say which case the spectrum of A is in for a range of alpha.

    Args:
        equation: physics, regulariser and data.
        alphas: all strengths of the study.
    """
    calculus = equation.data.gram.calculus
    if calculus is None:
        words = "The singular values of A are not known, so no case of the theory is claimed."
        return Spectrum("unknown", None, words)
    values = calculus.values
    floor = calculus.rounding
    seen = values[values > floor]
    smallest, largest = float(seen.min()), float(seen.max())
    kernel = bool((values <= floor).any())
    mu = equation.traits.modulus
    known = mu is not None and mu.value > 0
    weight = mu.value if mu is not None and known else 1.0
    low = math.sqrt(weight * float(alphas.min()))
    high = math.sqrt(weight * float(alphas.max()))
    nature = "with a kernel" if kernel else "with trivial kernel"
    facts = (
        f"singular values from {largest:.2g} down to {smallest:.2g} {nature}; "
        f"sqrt(alpha mu) runs from {high:.2g} to {low:.2g}" + ("" if known else " if mu were 1")
    )
    share = _count_near(seen, low) / max(1, _count_near(seen, high))
    reaches = smallest * MARGIN < low and largest > MARGIN * low
    regime: Regime = "between"
    if not known:
        words = (
            f"R is not known to be strongly monotone ({facts}): theory bounds the Bregman distance "
            "and the data residual if R is monotone, never the norm."
        )
    elif smallest > high:
        regime = "gap"
        words = (
            f"Gap case: {facts}, below all nonzero ones. Norm and data error then go with delta, "
            "the Bregman distance with delta squared."
        )
    elif reaches and 1.0 / EVEN <= share <= EVEN:
        regime = "across"
        words = (
            f"Spectrum reaching across: {facts}, with about as many singular values near the one "
            "as near the other. Here theory's exponents are sharp: 1/2 in norm for "
            "alpha = c delta, 1 in the Bregman distance."
        )
    else:
        words = (
            f"Between the cases: {facts}; {share:.2g} times as many singular values lie near the "
            "smallest as near the largest. Theory's exponents are what is guaranteed; measured "
            "ones may be larger."
        )
    return Spectrum(regime, kernel, words)


def _count_near(values: torch.Tensor, place: float) -> int:
    """How many values lie within a factor of two of a place."""
    return int(((values > 0.5 * place) & (values < 2.0 * place)).sum())
