"""A sharper bound on the error where the singular values of A have a gap above 0."""

from __future__ import annotations

from torch import Tensor

from equipoise.certify import SourceElement
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.point import Point
from equipoise.certify.rounding import length, up
from equipoise.equation import Equation
from equipoise.vectors import expand


def gap_bound(
    equation: Equation, x: Tensor, truth: Tensor, element: SourceElement, data: Tensor
) -> Tensor | None:
    """Bound the distance of an approximate equilibrium to a truth with a source element.

    Formula: ``||d|| <= (L ||A d|| / s + ||e|| / alpha) / mu`` with s the smallest nonzero singular
    value and ``e = E(x) - alpha rho``, ``R(z) = A^T w + rho``. Proof: ``alpha (R(x) - R(z))`` is e
    up to the range of A^T, so with P the projection on that range ``mu ||d||^2 <=
    <R(x) - R(z), d> <= L ||d|| ||P d|| + ||e|| ||d|| / alpha``, and ``||P d|| <= ||A d|| / s``.
    The bound goes with delta where that of Thm 5 goes with its root; a mask has s = 1.

    Args:
        equation: for the noisy data.
        x: its approximate equilibria, shape (B, C, ...).
        truth: z, shape of x.
        element: source element of z.
        data: bounds on ``||A d||``, shape (B,).

    Returns:
        Bounds (B,), or None where s, mu > 0 or L is not known. PROVED if mu and L are.
    """
    known = Hypotheses(equation)
    mu, high, calculus = known.mu, known.lipschitz, known.calculus
    if mu is None or not mu.value > 0 or high is None or calculus is None:
        return None
    seen = calculus.values[calculus.values > calculus.rounding]
    smallest = float(seen.min()) - calculus.rounding
    if not smallest > 0:
        return None
    at_x, at_truth = Point(known, x), Point(known, truth, "truth")
    e = at_x.residual - expand(known.alpha, x) * element.residual
    lost = length(e) + at_x.rounding + at_truth.rounding
    return up((high.value * data / smallest + lost / known.alpha) / mu.value)
