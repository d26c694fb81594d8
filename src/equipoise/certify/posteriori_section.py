"""What the residual of a reconstruction says of its distance to the equilibrium."""

from __future__ import annotations

from torch import Tensor

from equipoise.bounds import Bound, Kind
from equipoise.certify.claims import claim, refusal, worst
from equipoise.certify.existence import failing
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.posteriori import distance_above, distance_below
from equipoise.certify.setting import Setting
from equipoise.certify.statement import Section, Statement
from equipoise.equation import Equation
from equipoise.vectors import norm

_SOURCE = "theory, section 2"
_STRONG = "m = s_-^2 + alpha mu > 0"


def posteriori_section(equation: Equation, known: Setting, x: Tensor) -> Section:
    """State how far a reconstruction is from the exact equilibrium; for a batch, at worst.

    Args:
        equation: the equation.
        known: its constants.
        x: reconstructions, shape (B, C, ...).

    Raises:
        InputError: if x does not match the equation.
    """
    numbers = Hypotheses(equation)
    numbers.check_images(x=x)
    return Section(
        "A posteriori",
        (
            _distance(numbers, known, x),
            _distance_lower(numbers, known, x),
            _residual(equation, x),
        ),
    )


def _distance(numbers: Hypotheses, known: Setting, x: Tensor) -> Statement:
    name, title = "distance_upper", "Distance to the exact equilibrium, from above"
    if not known.strong:
        words, advice = failing(known)
        return refusal(name, title, _STRONG, _SOURCE, words, advice)
    assert known.modulus is not None
    value = worst(distance_above(numbers, x))
    words = "The reconstruction is at most this far (Euclidean norm) from the one equilibrium."
    bound = Bound(value, known.modulus.kind, known.modulus.why)
    return claim(name, title, bound, _STRONG, _SOURCE, words)


def _distance_lower(numbers: Hypotheses, known: Setting, x: Tensor) -> Statement:
    name, title = "distance_lower", "Distance to any equilibrium, from below"
    assumes = "R Lipschitz"
    if known.lipschitz is None:
        words = "No Lipschitz constant of R is known."
        advice = "Use a field from the catalogue, or declare traits() that can be proved."
        return refusal(name, title, assumes, _SOURCE, words, advice)
    value = float(distance_below(numbers, x, known.lipschitz.value).min())
    proved = known.lipschitz.proved and known.high.proved
    why = known.high.why if known.lipschitz.proved else known.lipschitz.why
    bound = Bound(value, Kind.PROVED if proved else Kind.ESTIMATED, "" if proved else why)
    words = "The reconstruction is at least this far from every equilibrium."
    return claim(name, title, bound, assumes, _SOURCE, words)


def _residual(equation: Equation, x: Tensor) -> Statement:
    relative = worst(norm(equation.residual(x)) / equation.scale)
    words = "||E(x)|| relative to its size at x = 0, evaluated in floating point."
    return claim(
        "residual",
        "Relative residual of the reconstruction",
        Bound(relative, Kind.ESTIMATED),
        "none",
        _SOURCE,
        words,
    )
