"""The numbers that the theorems on one equation are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from equipoise.bounds import Bound, inflate
from equipoise.certify.constants import modulus_from_traits
from equipoise.certify.hypotheses import Hypotheses
from equipoise.equation import Equation


@dataclass(frozen=True)
class Setting:
    """Constants of ``E(x) = w A^T (A x - y) + alpha R(x)``, rounded to the safe side.

    Everything holds for all samples of a batch, whose alpha may differ.

    Args:
        alpha: smallest and largest alpha.
        weight: w, ``1 / sigma^2`` of deepinv's ``L2(sigma)``, else 1.
        low: at most ``s_-^2``, the smallest eigenvalue of ``w A^T A``.
        high: at least ``s_+^2``, the largest one, if it is proved; else an estimate from below.
        mu: at most the modulus of R; None: unknown.
        lipschitz: at least the Lipschitz constant of R; None: unknown.
        gradient_field: R is a gradient.
        disc: hypothesis (D) holds for R.
        attaining: as the trait of that name.
        bounded: as the trait of that name.
    """

    alpha: tuple[float, float]
    weight: float
    low: Bound
    high: Bound
    mu: Bound | None
    lipschitz: Bound | None
    gradient_field: bool
    disc: bool
    attaining: bool
    bounded: bool

    @cached_property
    def pull(self) -> Bound | None:
        """The smallest ``alpha mu``."""
        if self.mu is None:
            return None
        return self.mu.times(self.alpha[0] if self.mu.value >= 0 else self.alpha[1])

    @cached_property
    def modulus(self) -> Bound | None:
        """``m = s_-^2 + alpha mu``, the strong monotonicity of E."""
        return None if self.pull is None else self.low + self.pull

    @cached_property
    def largest_pull(self) -> Bound | None:
        """The largest ``alpha L``."""
        return None if self.lipschitz is None else self.lipschitz.times(self.alpha[1])

    @cached_property
    def largest(self) -> Bound | None:
        """``L_E = s_+^2 + alpha L``; a lower estimate of it where ``||A||`` is estimated."""
        return None if self.largest_pull is None else self.high + self.largest_pull

    @property
    def strong(self) -> bool:
        """Whether ``m > 0``, so that there is exactly one equilibrium."""
        return self.modulus is not None and self.modulus.value > 0

    @property
    def monotone(self) -> bool:
        """Whether R is monotone."""
        return self.mu is not None and self.mu.value >= 0


def setting(equation: Equation) -> Setting:
    """Collect the constants of an equation.

    Args:
        equation: with the squared norm as data fidelity.

    Raises:
        HypothesisError: for another data fidelity, whose curvature is not that of ``A^T A``.
    """
    known, traits = Hypotheses(equation), equation.traits
    lipschitz = traits.lipschitz
    if lipschitz is not None:
        lipschitz = Bound(inflate(lipschitz.value), lipschitz.kind, lipschitz.why)
    return Setting(
        alpha=(float(known.alpha.min()), float(known.alpha.max())),
        weight=known.weight,
        low=known.low,
        high=known.high,
        mu=modulus_from_traits(equation.traits),
        lipschitz=lipschitz,
        gradient_field=traits.gradient_field,
        disc=traits.disc,
        attaining=traits.attaining,
        bounded=traits.bounded,
    )
