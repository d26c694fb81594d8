"""How far a reconstruction is from the truth: rates, and bounds for one noise level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from deepinv.physics import BlurFFT
from torch import Tensor

from equipoise.certify.constants import real_numbers
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.perturbation import PairBounds, combine
from equipoise.certify.point import Point
from equipoise.certify.rounding import allowance, length, up
from equipoise.certify.source_condition import SourceElement, source_element
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.modes import verb
from equipoise.vectors import expand, scaled


@dataclass(frozen=True, eq=False)
class RateBounds(PairBounds):
    """Bounds on the difference of a reconstruction x and the truth z, per sample, float64.

    Args:
        residual: bounds ``||A x - y||`` for the noisy y; None where R is not known monotone.

    The rest as in :class:`PairBounds`.
    """

    residual: Tensor | None


@verb
def rate_bounds(
    equation: Equation,
    x: Tensor,
    truth: Tensor,
    element: SourceElement,
    noise_norm: float | Tensor | None = None,
) -> RateBounds:
    """Bound the error of an approximate equilibrium by a source element (theory, Thm 5).

    Formula: with ``R(z) = A^T w + rho``, noise eta of norm at most delta, and sigma = 1, the
    lemma of :func:`pair_bounds` holds with ``u = eta - alpha w`` and ``e = E(x) - alpha rho``. For
    ``e = 0``: ``D <= (delta + alpha ||w||)^2 / (4 alpha)``, ``||A d|| <= delta + alpha ||w||``,
    ``||A x - y|| <= sqrt(delta^2 + alpha^2 ||w||^2)``, ``||d|| <= gamma (delta + alpha ||w||)``.

    Args:
        equation: for the noisy y.
        x: its approximate equilibria, shape (B, C, ...).
        truth: z, shape of x; need not be in any range.
        element: from :func:`source_element` or :func:`least_norm_element` at ``r = R(z)``.
        noise_norm: delta with ``||y - A z|| <= delta``, a number or one for each sample; None:
            the noise ``y - A z`` itself is used, which gives smaller numbers.

    Raises:
        HypothesisError: for a data fidelity other than the squared norm.
        InputError: if shapes or dtypes do not match, or ``noise_norm`` is negative.
    """
    known = Hypotheses(equation)
    at_x, at_truth = Point(known, x), Point(known, truth, "truth")
    if element.w.shape != equation.y.shape or element.residual.shape != truth.shape:
        raise InputError(
            "The source element belongs to other images: compute it at R(truth) with this physics."
        )
    change = known.alpha / known.weight  # in whitened data the element is sigma w
    with torch.no_grad():
        noise = equation.y - equation.physics.A(truth)
        shift = scaled(change, element.w)
    e = at_x.residual - scaled(known.alpha, element.residual)
    slack = at_x.rounding + _lost(at_truth, element)
    distance = length(x - truth)
    if noise_norm is None:
        u, across = length(noise - shift), 0.5 * length(noise + shift)
    else:
        size, other = known.noise(noise_norm), change * element.w_norm
        u, across = size + other, None
    pair = combine(known, u, e, slack, distance)
    residual = None
    if known.monotone:
        work = (length(e) + slack) * distance / known.weight
        if across is None:
            residual = up((size.square() + other.square() + 2.0 * work).sqrt())
        else:
            residual = up(across + (0.25 * u.square() + work).sqrt())
    return RateBounds(pair.data, pair.bregman, pair.distance, pair.kind, residual)


@verb
def best_alpha(equation: Equation, element: SourceElement, noise_norm: float | Tensor) -> Tensor:
    """The alpha that minimises the bound of Thm 5 on the Bregman distance, shape (B,).

    Formula: ``alpha = delta / (sigma^2 ||w||)``; then ``D <= delta ||w||`` and
    ``||d|| <= sqrt(delta ||w|| / mu)`` (theory, Thm 5). Infinite for ``w = 0``.

    Args:
        equation: only its data fidelity and the number of samples matter.
        element: the source element of the truth.
        noise_norm: delta.

    Raises:
        HypothesisError: for a data fidelity other than the squared norm.
        InputError: if ``noise_norm`` is negative.
    """
    known = Hypotheses(equation)
    return known.weight * known.noise(noise_norm) / element.w_norm


@verb
def truth_error_bound(equation: Equation, truth: Tensor, noise_norm: float | Tensor) -> Tensor:
    """Bound ``||x* - z||`` for all noise of a norm, x* the equilibrium (theory, Thm 7).

    Formula (sigma = 1): ``gamma delta + sqrt(alpha S_beta(R(z)) / (mu m))`` with
    ``beta = alpha mu``. It needs no source condition. The data y of the equation play no part:
    for the given y :func:`error_bound` at the truth is sharper.

    Args:
        equation: with a proved positive modulus mu of R.
        truth: z, shape (B, C, ...).
        noise_norm: delta with ``||y - A z|| <= delta``, a number or one for each sample.

    Returns:
        PROVED bounds, shape (B,), float64.

    Raises:
        HypothesisError: if mu is not proved to be positive, or for another data fidelity.
        InputError: if ``truth`` does not match the equation or ``noise_norm`` is negative.
    """
    point = _strong_point(equation, truth)
    return upper_error(point, bias_element(point), point.known.noise(noise_norm))


@verb
def expected_error_bound(equation: Equation, truth: Tensor, noise_std: float) -> Tensor:
    """Bound the root mean square error over white noise (theory, Thm 7).

    Formula (sigma = 1): ``E ||x* - z||^2 <= (s^2 tr(G (G + beta I)^{-1}) +
    (alpha / mu) S_beta(R(z))) / m`` with ``G = A^T A``, ``beta = alpha mu``.

    The trace is exact where the basis is orthonormal or the physics a circular blur; otherwise it
    is bounded by ``min(n, p) s_+^2 / (s_+^2 + beta)``, n unknowns and p measurements.

    Args:
        equation: with a proved positive modulus mu of R; its y plays no part.
        truth: z, shape (B, C, ...).
        noise_std: s, the standard deviation of every real entry of the noise, which must have
            zero mean and uncorrelated entries.

    Returns:
        PROVED bounds on the root of the mean square of ``||x* - z||``, shape (B,), float64.

    Raises:
        HypothesisError: if mu is not proved to be positive, or for another data fidelity.
        InputError: if ``truth`` does not match the equation or ``noise_std`` is negative.
    """
    point = _strong_point(equation, truth)
    known = point.known
    noise = known.weight * known.noise(noise_std).square() * _trace(known)
    bias = _bias(point, bias_element(point))
    return up(((noise + bias) / known.each_m()).sqrt())


def _strong_point(equation: Equation, truth: Tensor) -> Point:
    """The truth, for fields that are proved to be strongly monotone.

    Raises:
        HypothesisError: naming the modulus, if R is not.
    """
    point = Point(Hypotheses(equation), truth, "truth")
    mu = point.known.mu
    if mu is None or not mu.proved or mu.value <= 0:
        raise HypothesisError(
            f"The bound needs a proved positive modulus of R, which is "
            f"{'unknown' if mu is None else mu}: use a contractive regulariser."
        )
    return point


def bias_element(truth: Point) -> SourceElement:
    """The element at ``beta = alpha mu`` (whitened) of ``R(z)``; needs mu > 0."""
    known = truth.known
    return source_element(known.equation.physics, truth.field, known.beta / known.weight)


def upper_error(truth: Point, element: SourceElement, delta: Tensor) -> Tensor:
    """The number of :func:`truth_error_bound`, whatever its standing; needs mu > 0.

    Args:
        truth: z.
        element: its :func:`bias_element`.
        delta: bound on the noise, shape (B,).
    """
    known = truth.known
    bias = (_bias(truth, element) / known.each_m()).sqrt()
    return up(known.gain() * known.whitening * delta + bias)


def _bias(truth: Point, element: SourceElement) -> Tensor:
    """``(alpha / mu) S_beta``, which bounds ``alpha^2 ||R(z)||^2_{M^{-1}}``, with rounding."""
    known = truth.known
    assert known.mu is not None
    root = element.upper.sqrt() + truth.field_rounding
    return known.alpha / known.mu.value * root.square()


def _lost(truth: Point, element: SourceElement) -> Tensor:
    """What rounding may hide of ``alpha (R(z) - A^T w - rho)`` and ``A^T (y - A z)``."""
    known = truth.known
    top = (known.high.value / known.weight) ** 0.5
    return truth.rounding + allowance(known.alpha * top * element.w_norm, truth.image.dtype)


def _trace(known: Hypotheses) -> Tensor:
    """``tr(G (G + beta I)^{-1})`` with the whitened G, exactly or from above, shape (B,)."""
    beta, like = known.beta, known.equation.adjoint_data
    pixels, weight = like[0].numel(), known.weight

    def share(s: Tensor, b: Tensor) -> Tensor:
        return weight * s.square() / (weight * s.square() + b)

    calculus = known.calculus
    if calculus is not None:
        if isinstance(calculus.physics, BlurFFT):  # the diagonal is constant in each channel
            spike = torch.zeros_like(like)
            spike[..., 0, 0] = 1.0
            diagonal = calculus.apply(share, spike, beta)[..., 0, 0].double()
            return diagonal.flatten(1).sum(1) * like[0, 0].numel()
        coefficients = calculus.physics.V_adjoint(like)
        if not coefficients.is_complex() and coefficients[0].numel() == pixels:
            values = calculus.values.double().expand(coefficients.shape)
            return share(values, expand(beta, coefficients)).flatten(1).sum(1)
    rank = min(pixels, real_numbers(known.equation.y))
    top = known.proved_high
    return rank * (top / (top + beta) if top < float("inf") else torch.ones_like(beta))
