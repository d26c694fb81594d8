"""How far a computed point is from the exact equilibrium."""

from __future__ import annotations

import math

from torch import Tensor

from equipoise.bounds import Kind
from equipoise.certify.hypotheses import Hypotheses, require_strong
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
    require_strong(known)
    if known.kind is not Kind.PROVED:
        raise HypothesisError(
            "The modulus of R is only estimated, so nothing is proved of the distance: use a "
            "regulariser with a proved modulus, for example a contractive one."
        )
    known.check_images(x=x)
    return distance_above(known, *known.residual(x))


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
    known.check_images(x=x)
    return distance_below(known, *known.residual(x), bound.value)


def distance_above(known: Hypotheses, e: Tensor, slack: Tensor) -> Tensor:
    """The number of :func:`error_bound` from ``E(x)``, proved or not; needs a positive m."""
    return up(known.divided(e, slack))


def distance_below(known: Hypotheses, e: Tensor, slack: Tensor, lipschitz: float) -> Tensor:
    """The number of :func:`error_at_least` from ``E(x)`` and L, proved or not."""
    size = length(e) - slack
    total = known.high.value + known.alpha * lipschitz
    return down(size / total) if math.isfinite(lipschitz) else 0.0 * size
