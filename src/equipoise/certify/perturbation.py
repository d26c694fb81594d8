"""Two points whose equations differ by little: how far apart can they be?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.point import Point
from equipoise.certify.rounding import length, up
from equipoise.checks import require_like
from equipoise.equation import Equation
from equipoise.errors import UsageError
from equipoise.modes import verb
from equipoise.vectors import scaled


@dataclass(frozen=True, eq=False)
class PairBounds:
    """Bounds on the difference ``d = x - z`` of two points, per sample, float64.

    Args:
        data: bounds ``||A d||``; None where R is not known to be monotone.
        bregman: bounds ``D(x, z) = <R(x) - R(z), d>``; None as above.
        distance: bounds ``||d||``; None where ``m = s_-^2 + alpha mu`` is not known positive.
        kind: PROVED, or ESTIMATED where a constant that was used is only estimated.
    """

    data: Tensor | None
    bregman: Tensor | None
    distance: Tensor | None
    kind: Kind


@verb
def pair_bounds(
    equation: Equation,
    x: Tensor,
    z: Tensor,
    u: Tensor,
    e: Tensor,
    slack: Tensor | None = None,
) -> PairBounds:
    """Bound the difference of two points from the difference of their equations.

    Formula: if ``A^T A d / sigma^2 + alpha (R(x) - R(z)) = A^T u / sigma^2 + e`` with
    ``d = x - z`` (sigma = 1 below), then ``||A d||^2 + alpha D = <u, A d> + <e, d>``, whence for
    monotone R, with ``k = 1 + alpha mu / s_+^2``,

    - ``||A d|| <= (||u|| + sqrt(||u||^2 + 4 k ||e|| ||d||)) / (2 k)``,
    - ``alpha D <= ||u||^2 / 4 + ||e|| ||d||``,

    and for ``m = s_-^2 + alpha mu > 0``, with M and gamma as in Thm 2,

    - ``||d|| <= gamma ||u|| + min(||e|| / m, ||e||_{M^{-1}} / sqrt(m))``.

    Args:
        equation: gives A, R, alpha and sigma; its data play no part.
        x: images, shape (B, C, ...).
        z: images of the same shape.
        u: shape of the measurements.
        e: shape of x.
        slack: what the rounding of e may hide, shape (B,).

    Raises:
        HypothesisError: for a data fidelity other than the squared norm.
        InputError: if a shape or dtype does not match the equation.

    Source: theory, section 3 (the lemma).
    """
    known = Hypotheses(equation)
    known.check_images(x=x, z=z, e=e)
    require_like("u", u, equation.y, "the measurements")
    slack = torch.zeros_like(known.alpha) if slack is None else slack
    return combine(known, length(u), e, slack, length(x - z))


def combine(known: Hypotheses, u: Tensor, e: Tensor, slack: Tensor, distance: Tensor) -> PairBounds:
    """The bounds of :func:`pair_bounds` from a bound on ``||u||`` and from ``||d||``, each (B,)."""
    u = known.whitening * u
    data = bregman = above = None
    if known.monotone:
        work = (length(e) + slack) * distance  # |<e, d>|
        k = torch.ones_like(u)
        if known.proved_high > 0:
            k = 1.0 + known.beta / known.proved_high
        data = up((u + (u.square() + 4.0 * k * work).sqrt()) / (2.0 * k * known.whitening))
        bregman = up((u.square() / 4.0 + work) / known.alpha)
    if known.strong:
        above = up(known.gain() * u + known.divided(e, slack))
    return PairBounds(data, bregman, above, known.kind)


@verb
def stability_bounds(
    equation1: Equation, x1: Tensor, equation2: Equation, x2: Tensor
) -> PairBounds:
    """Bound the difference of two approximate equilibria of the same A and R (theory, Thm 2).

    Formula: the lemma of :func:`pair_bounds` with ``c = alpha_1 / alpha_2``,
    ``u = y_1 - y_2 - (1 - c) (A x_2 - y_2)`` and ``e = E_1(x_1) - c E_2(x_2)``: another alpha is
    another datum. For equal alpha and exact equilibria these are ``||A d|| <= ||dy||``,
    ``alpha D <= ||dy||^2 / 4`` and ``||d|| <= gamma ||dy||``.

    Args:
        equation1: the first equation.
        x1: its approximate equilibria, shape (B, C, ...).
        equation2: the second, with the same physics, regulariser and data fidelity; y and alpha
            may differ.
        x2: its approximate equilibria.

    Returns:
        Bounds that contain what the residuals ``E_1(x_1)`` and ``E_2(x_2)`` and their rounding
        may add.

    Raises:
        UsageError: if the physics or the regularisers are not the same objects, or the weights
            of the data fidelities differ.
        HypothesisError: for a data fidelity other than the squared norm.
        InputError: if shapes or dtypes do not match.
    """
    one, two = Hypotheses(equation1), Hypotheses(equation2)
    same = equation1.physics is equation2.physics and equation1.regularizer is equation2.regularizer
    if not same or one.weight != two.weight:
        raise UsageError(
            "Both equations must have the same physics, regularizer and data fidelity: only y and "
            "alpha may differ."
        )
    one.check_images(x2=x2)
    at_1, at_2 = Point(one, x1, "x1"), Point(two, x2, "x2")
    change = one.alpha / two.alpha
    with torch.no_grad():
        misfit = equation1.physics.A(x2) - equation2.y
        u = equation1.y - equation2.y - scaled(1.0 - change, misfit)
    e = at_1.residual - scaled(change, at_2.residual)
    slack = at_1.rounding + (change + (1.0 - change).abs()) * at_2.rounding
    return pair_bounds(equation1, x1, x2, u, e, slack)
