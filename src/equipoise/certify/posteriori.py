"""How far a computed point is from the exact equilibrium."""

from __future__ import annotations

from torch import Tensor

from equipoise.bounds import Bound, Kind
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.point import Point
from equipoise.certify.rounding import down, length, up
from equipoise.equation import Equation
from equipoise.errors import HypothesisError
from equipoise.modes import verb


@verb
def error_bound(equation: Equation, x: Tensor) -> Tensor:
    """Bound ``||x - x*||``, the distance to the one equilibrium x* (theory, section 2).

    Formula: ``min(||E(x)|| / m, ||E(x)||_{M^{-1}} / sqrt(m))``, ``M = A^T A / sigma^2 +
    alpha mu I``, the second for decomposable physics. Rounding of E(x) is allowed for.

    Applied to the ground truth instead of a reconstruction it bounds the error of the exact
    reconstruction for these data.

    Args:
        equation: with the squared norm and a proved positive ``m = s_-^2 + alpha mu``.
        x: any images, shape (B, C, ...).

    Returns:
        PROVED bounds, shape (B,), float64.

    Raises:
        HypothesisError: if m is not proved to be positive, or for another data fidelity.
        InputError: if x does not match the equation.
    """
    known = Hypotheses(equation)
    known.each_m()
    if known.kind is not Kind.PROVED:
        raise HypothesisError(
            "The modulus of R is only estimated, so nothing is proved of the distance: use a "
            "regulariser with a proved modulus, for example a contractive one."
        )
    return distance_above(Point(known, x))


@verb
def error_at_least(equation: Equation, x: Tensor) -> Tensor:
    """Bound ``||x - x*||`` from below, for any equilibrium x* (theory, section 2).

    Formula: ``||E(x)|| / L_E`` with ``L_E = s_+^2 + alpha L``. Rounding of E(x) is allowed for.

    Args:
        equation: with the squared norm and proved s_+ and L.
        x: any images, shape (B, C, ...).

    Returns:
        PROVED bounds, shape (B,), float64.

    Raises:
        HypothesisError: if s_+ or L is not proved, or for another data fidelity.
        InputError: if x does not match the equation.
    """
    known = Hypotheses(equation)
    bound = known.lipschitz
    if bound is None or not bound.proved or not known.high.proved:
        what = "The norm of A" if not known.high.proved else "The Lipschitz constant of R"
        raise HypothesisError(
            f"{what} is not proved from above, so nothing is proved from below: use a "
            "decomposable physics and a regulariser with a proved Lipschitz constant."
        )
    return distance_below(Point(known, x), bound)


def distance_above(point: Point) -> Tensor:
    """The number of :func:`error_bound`, proved or not; needs a positive m."""
    return up(point.known.divided(point.residual, point.rounding))


def distance_below(point: Point, lipschitz: Bound) -> Tensor:
    """The number of :func:`error_at_least` with this L, proved or not."""
    largest = point.known.high.value + point.known.alpha * lipschitz.value
    return down((length(point.residual) - point.rounding) / largest)
