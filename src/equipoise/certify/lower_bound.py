"""Errors that no reconstruction of the method can avoid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.bounds import Bound, Kind
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.point import Point
from equipoise.certify.rounding import allowance, down, length
from equipoise.certify.source_condition import least_norm_element
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.gram import Gram, SpectralCalculus
from equipoise.linear import ConjugateGradients
from equipoise.modes import verb
from equipoise.vectors import expand

#: Number of spectral cut-offs, and of filters, among which the best one is taken.
CUTS, FILTERS = 24, 6


@dataclass(frozen=True, eq=False)
class KernelComponent:
    """The part of an image that A does not see.

    Args:
        component: ``P r``, P the orthogonal projection on the kernel of A, shape of r.
        kind: PROVED where the projection is exact.
        why: how it was computed.
    """

    component: Tensor
    kind: Kind
    why: str


@dataclass(frozen=True, eq=False)
class LowerBound:
    """A lower bound on ``||x - z||``, z the truth, per sample.

    Args:
        value: shape (B,), float64; 0 says nothing.
        kind: PROVED, or ESTIMATED where something it rests on is.
        why: how it was computed, and why it is only estimated if so.
    """

    value: Tensor
    kind: Kind
    why: str


@verb
def kernel_component(physics: LinearPhysics, r: Tensor) -> KernelComponent:
    """Project images on the kernel of A.

    Args:
        physics: deepinv linear physics A. Decomposable: exact in its basis. Other: what conjugate
            gradients leave of r, ESTIMATED.
        r: images, shape (B, C, ...), float32 or float64.

    Raises:
        InputError: if r is no batch of images.

    Source: theory, section 6.
    """
    component = least_norm_element(physics, r).residual
    return KernelComponent(component, *kernel_standing(Gram(physics, r.detach()).calculus))


def kernel_standing(calculus: SpectralCalculus | None) -> tuple[Kind, str]:
    """Whether the kernel of A is known exactly, and why."""
    if calculus is None:
        why = "no decomposition of the physics: the kernel was approached by conjugate gradients"
        return Kind.ESTIMATED, why
    if calculus.kernel_is_exact:
        return Kind.PROVED, "exact kernel from the decomposition"
    return Kind.ESTIMATED, "singular values below the rounding of the largest one were taken as 0"


@verb
def error_floor(
    equation: Equation, truth: Tensor, residual_norm: Tensor | None = None
) -> LowerBound:
    """Bound the error that no noise level and no alpha goes below (theory, Thm 6(a)).

    Formula: ``||x - z|| >= ||P R(z)|| / L``, P the projection on the kernel of A, for every
    equilibrium x of whatever data; for a point with ``||E(x)|| <= e`` it is
    ``(||P R(z)|| - e / alpha) / L``.

    Args:
        equation: any with the squared norm; its y plays no part, its alpha only for e > 0.
        truth: z, shape (B, C, ...).
        residual_norm: e, shape (B,); None for exact equilibria.

    Raises:
        HypothesisError: if no finite Lipschitz constant of R is known, or for another data
            fidelity.
        InputError: if ``truth`` does not match the equation.
    """
    return floor_at(Point(Hypotheses(equation), truth, "truth"), residual_norm)


def floor_at(truth: Point, residual_norm: Tensor | None = None) -> LowerBound:
    """The bound of :func:`error_floor`."""
    known, bound = truth.known, require_lipschitz(truth.known)
    lost = truth.field_rounding
    if residual_norm is not None:
        lost = lost + residual_norm.double() / known.alpha
    value = truth.element.residual_norm - lost
    value = down(value / bound.value if bound.value > 0 else _stationary(value))
    return LowerBound(value, *_standing(*kernel_standing(known.calculus), bound))


@verb
def error_lower_bound(
    equation: Equation,
    truth: Tensor,
    noise_norm: float | Tensor,
    *,
    t: float | None = None,
    beta: float | None = None,
    residual_norm: Tensor | None = None,
) -> LowerBound:
    """Bound the error from below for one alpha and noise level (theory, Thm 6(b), 6(c)).

    Formula (sigma = 1, ``G = A^T A``, delta bounds the noise, e the residual of x):

    - (b) ``(alpha ||P_t R(z)|| - sqrt(t) delta - e) / (alpha L + t)`` with P_t the spectral
      projection of G on [0, t], for decomposable physics;
    - (c) ``(alpha ||beta (G + beta I)^{-1} R(z)|| - sqrt(beta) delta / 2 - e) / (alpha L +
      beta)``, by conjugate gradients whose residual is subtracted.

    Args:
        equation: any with the squared norm; y plays no part.
        truth: z, shape (B, C, ...).
        noise_norm: delta with ``||y - A z|| <= delta``, a number or one for each sample.
        t: the cut-off on the scale of ``A^T A``; with ``beta`` None it alone is used.
        beta: the filter on the same scale; with ``t`` None it alone is used. If both are None the
            best of a grid of either kind is taken.
        residual_norm: e, shape (B,); None for exact equilibria.

    Raises:
        HypothesisError: if no finite Lipschitz constant of R is known, for another data fidelity,
            or if t is given for a physics without decomposition.
        InputError: if ``truth`` does not match the equation, or ``noise_norm``, t or beta is not
            in its range.
    """
    known = Hypotheses(equation)
    point, delta = Point(known, truth, "truth"), known.noise(noise_norm)
    return lower_at(point, delta, t=t, beta=beta, residual_norm=residual_norm)


def lower_at(
    truth: Point,
    delta: Tensor,
    *,
    t: float | None = None,
    beta: float | None = None,
    residual_norm: Tensor | None = None,
) -> LowerBound:
    """The bound of :func:`error_lower_bound`; delta has shape (B,)."""
    known, field, bound = truth.known, truth.field, require_lipschitz(truth.known)
    delta, lost = known.whitening * delta, known.alpha * truth.field_rounding
    if residual_norm is not None:
        lost = lost + residual_norm.double()
    pull = known.alpha * bound.value

    def ratio(seen: Tensor, price: Tensor, top: Tensor | float) -> Tensor:
        denominator = pull + top
        numerator = known.alpha * seen - price * delta - lost
        return torch.where(denominator > 0, numerator / denominator, _stationary(numerator))

    best = torch.full_like(delta, -math.inf)
    calculus = known.calculus
    for cut in _cuts(calculus, t, beta):
        assert calculus is not None
        seen, end = _low_part(calculus, field, cut)
        best = torch.maximum(best, ratio(seen, known.whitening * end**0.5, known.weight * end))
    for filtered in _filters(known, bound, t, beta):
        seen = _filtered(known, field, filtered)
        b = known.weight * filtered
        best = torch.maximum(best, ratio(seen, 0.5 * b.sqrt(), b))
    how = "spectral cut-offs and filters" if calculus is not None else "filtered by CG"
    return LowerBound(down(best), *_standing(Kind.PROVED, how, bound))


def require_lipschitz(known: Hypotheses) -> Bound:
    """The Lipschitz constant of R, or a refusal in words.

    Raises:
        HypothesisError: if no finite one is known.
    """
    if known.lipschitz is None:
        raise HypothesisError(
            "No finite Lipschitz constant of R is known, so its pull cannot be bounded: use a "
            "regulariser that declares one."
        )
    return known.lipschitz


def _standing(kind: Kind, why: str, lipschitz: Bound) -> tuple[Kind, str]:
    if lipschitz.proved:
        return kind, why
    return Kind.ESTIMATED, f"{why}; the Lipschitz constant of R is only estimated"


def _stationary(numerator: Tensor) -> Tensor:
    """A constant R that A does not see: there is no equilibrium at all."""
    return torch.where(numerator > 0, torch.inf, 0.0)


def _cuts(calculus: SpectralCalculus | None, t: float | None, beta: float | None) -> list[float]:
    """Singular values at which to cut: those given, or some of the physics' own."""
    if t is not None:
        if calculus is None:
            raise HypothesisError(
                "A spectral cut-off needs a decomposable physics; give beta instead of t."
            )
        if not t >= 0:
            raise InputError(f"t must be at least 0, got {t}.")
        return [t**0.5]
    if calculus is None or beta is not None:
        return []
    values = calculus.values.flatten().unique()  # sorted
    places = torch.linspace(0, len(values) - 1, min(CUTS, len(values))).round().long()
    return values[places.to(values.device)].tolist()


def _low_part(calculus: SpectralCalculus, field: Tensor, cut: float) -> tuple[Tensor, float]:
    """``||P_t R||`` and the t that it stands for: what passes the filter has ``s^2 <= t``."""
    part = calculus.apply(lambda s, c: (s <= cut).to(field.dtype), field)
    return length(part) - allowance(length(field), field.dtype), cut**2


def _filters(known: Hypotheses, bound: Bound, t: float | None, beta: float | None) -> list[Tensor]:
    """Filters beta on the scale of ``A^T A``, each of shape (B,)."""
    if beta is not None:
        if not (0 < beta < math.inf):
            raise InputError(f"beta must be positive and finite, got {beta}.")
        return [torch.full_like(known.alpha, beta)]
    if t is not None:
        return []
    pull = known.alpha * max(bound.value, 1e-12) / known.weight
    return [pull * 10.0**-k for k in range(FILTERS)]


def _filtered(known: Hypotheses, field: Tensor, beta: Tensor) -> Tensor:
    """A lower bound on ``||beta (A^T A + beta I)^{-1} R||``, shape (B,)."""
    lost = allowance(length(field), field.dtype)
    if known.calculus is not None:
        return length(known.calculus.apply(lambda s, b: b / (s.square() + b), field, beta)) - lost
    gram, b = known.equation.data.gram, expand(beta, field).to(field.dtype)

    def shifted(v: Tensor) -> Tensor:
        with torch.no_grad():
            return gram(v) + b * v

    z = ConjugateGradients(tolerance=1e-3, max_products=200).solve(shifted, field).x
    # beta (G + beta)^{-1} has norm at most 1, so it can only lose what the residual holds.
    top = known.high.value / known.weight
    lost = lost + allowance((top + beta) * length(z), field.dtype)
    return beta * length(z) - length(field - shifted(z)) - lost
