"""What can be said of existence and uniqueness of the equilibrium, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.bounds import Kind
from equipoise.equation import Equation
from equipoise.modes import verb


@dataclass(frozen=True)
class Uniqueness:
    """Whether the equation has exactly one solution, and on what ground.

    Args:
        kind: PROVED or ESTIMATED, or None where nothing is known.
        sentence: the statement in plain words with its constants.
    """

    kind: Kind | None
    sentence: str


@verb
def uniqueness(equation: Equation) -> Uniqueness:
    """State existence and uniqueness from the proved or estimated constants (theory, Prop 1).

    ``m = s_-^2 + alpha mu > 0``: exactly one equilibrium, within ``||E(x)|| / m`` of x.
    R monotone: all equilibria have the same A x. Otherwise nothing is claimed.
    """
    m, mu = equation.modulus, equation.traits.modulus
    nature = "convex energy" if equation.gradient_field else "monotone operator"
    if m is not None and mu is not None and m.value > 0:
        words = "strongly " + nature
        return Uniqueness(m.kind, f"{m.kind}: {words}, modulus m = {m.value:.3g}; one equilibrium")
    if mu is not None and mu.value >= 0:
        return Uniqueness(mu.kind, f"{mu.kind}: {nature}; A x is the same for all equilibria")
    if mu is not None:
        return Uniqueness(
            None,
            f"none: only monotone up to {-mu.value:.3g}, too much for this physics and alpha",
        )
    return Uniqueness(None, "none: no constant of R is known")
