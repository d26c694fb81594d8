"""What a certificate says of one reconstruction, and of one ground truth.

A batch gets one number for all its samples: the largest upper and the smallest lower bound.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from equipoise.bounds import Bound, Kind
from equipoise.certify.claims import DECLARE, Topic, text
from equipoise.certify.hypotheses import STRONGER, standing
from equipoise.certify.lower_bound import LowerBound, floor_at, kernel_standing, lower_at
from equipoise.certify.point import Point
from equipoise.certify.posteriori import distance_above, distance_below
from equipoise.certify.rates import best_alpha, bias_element, upper_error
from equipoise.certify.rounding import length, up
from equipoise.certify.statement import Statement

_ABOVE = Topic(
    "distance_upper",
    "Distance to the exact equilibrium, from above",
    "m = s_-^2 + alpha mu > 0",
    "theory, section 2",
)
_BELOW = Topic(
    "distance_lower",
    "Distance to any equilibrium, from below",
    "R Lipschitz",
    "theory, section 2",
)
_FLOOR = Topic(
    "error_floor",
    "Error that no noise level and no alpha goes below",
    "R Lipschitz",
    "theory, Thm 6(a)",
)
_LOWER = Topic(
    "error_lower_bound",
    "Error for this alpha and noise level, from below",
    "R Lipschitz",
    "theory, Thm 6(b), 6(c)",
)
_NORM = Topic("source_norm", "Norm of the source element w", "none", "theory, section 5")
_RESIDUAL = Topic(
    "source_residual", "Part of R(truth) that A^T w misses", "none", "theory, section 5"
)
_LOSS = Topic(
    "source_loss", "Source loss S_beta at the truth, from above", "mu > 0", "theory, section 7"
)
_UPPER = Topic(
    "error_upper_bound",
    "Error for this alpha and noise level, from above",
    "mu > 0",
    "theory, Thm 7",
)
#: Where no finite Lipschitz constant of R is known.
_UNBOUNDED = "No finite Lipschitz constant of R is known.", DECLARE
_RATE = Topic(
    "rate_bregman",
    "Constant c of the rate D <= c delta",
    "R monotone, R(truth) = A^T w",
    "theory, Thm 5",
)
_RATE_NORM = Topic(
    "rate_norm",
    "Constant c of the rate ||x - truth|| <= c sqrt(delta)",
    "mu > 0, R(truth) = A^T w",
    "theory, Thm 5",
)
_BEST = Topic(
    "best_alpha",
    "alpha with the smallest bound on D for this noise level",
    "R monotone, R(truth) = A^T w",
    "theory, Thm 5",
)


def posterior_statements(x: Point) -> tuple[Statement, Statement]:
    """State how far a reconstruction is from the exact equilibrium.

    Statements: ``distance_upper`` and ``distance_lower``.

    Args:
        x: the reconstruction.
    """
    known = x.known
    mu, lipschitz = known.mu, known.lipschitz
    if mu is None or not known.strong:
        above = _ABOVE.fails(*known.failing)
    else:
        above = _ABOVE.says(
            Bound(_worst(distance_above(x)), known.kind, mu.why),
            "The reconstruction is at most this far from the one equilibrium.",
        )
    if lipschitz is None:
        return above, _BELOW.fails(*_UNBOUNDED)
    why = known.high.why if lipschitz.proved else lipschitz.why
    below = _BELOW.says(
        Bound(float(distance_below(x, lipschitz).min()), standing(lipschitz, known.high), why),
        "The reconstruction is at least this far from every equilibrium.",
    )
    return above, below


def lower_bound_statements(truth: Point, delta: Tensor) -> tuple[Statement, Statement]:
    """State which errors the method cannot avoid for a ground truth.

    Statements: ``error_floor`` and ``error_lower_bound``.

    Args:
        truth: the image z.
        delta: bound on ``||y - A z||``, shape (B,).
    """
    if truth.known.lipschitz is None:
        return _FLOOR.fails(*_UNBOUNDED), _LOWER.fails(*_UNBOUNDED)
    floor = _FLOOR.says(
        _least(floor_at(truth)),
        "Every equilibrium, for any data and any alpha, is at least this far from the truth.",
    )
    lower = _LOWER.says(
        _least(lower_at(truth, delta)),
        "With this alpha and noise of at most the given norm, every equilibrium is at least this "
        "far from the truth.",
    )
    return floor, lower


def source_statements(truth: Point, delta: Tensor) -> tuple[Statement, ...]:
    """State how well R(z) is of the form A^T w for a ground truth z, and what follows from it.

    Statements: ``source_norm``, ``source_residual``, ``rate_bregman``, ``rate_norm``,
    ``best_alpha``, ``source_loss`` and ``error_upper_bound``.

    Args:
        truth: the image z.
        delta: bound on ``||y - A z||``, shape (B,).
    """
    return (*_element(truth), *_rates(truth, delta), *_bias(truth, delta))


def _worst(values: Tensor) -> float:
    return float(values.max())


def _least(bound: LowerBound) -> Bound:
    return Bound(float(bound.value.min()), bound.kind, bound.why)


def _element(truth: Point) -> tuple[Statement, Statement]:
    element = truth.element
    kind, why = kernel_standing(truth.known.calculus)
    if not element.exact:
        beta = _worst(element.beta)
        why = (
            f"by conjugate gradients with beta = {beta:.2g}, the smallest usable one; the "
            "least-norm w may be larger and miss less"
        )
    return (
        _NORM.says(
            Bound(_worst(element.w_norm), kind, why),
            "The w of least norm among those for which A^T w is nearest to R(truth).",
        ),
        _RESIDUAL.says(
            Bound(_worst(element.residual_norm), kind, why),
            "||R(truth) - A^T w||; the source condition says that it is 0.",
        ),
    )


def _rates(truth: Point, delta: Tensor) -> list[Statement]:
    topics, element = (_RATE, _RATE_NORM, _BEST), truth.element
    missed = element.residual_norm
    if bool((missed > truth.field_rounding).any()):
        share = _worst(missed / length(truth.field).clamp_min(torch.finfo(torch.float64).tiny))
        words = f"The source condition is not met: A^T w misses {share:.2%} of R(truth)."
        advice = (
            "Train R such that R(x) is nearly in the range of A^T (mode source-condition); "
            "error_upper_bound needs no source condition."
        )
        return [topic.fails(words, advice) for topic in topics]
    mu = truth.known.mu
    if mu is None or mu.value < 0:
        words = "No modulus of R is known." if mu is None else f"R is not monotone: mu = {mu}."
        return [topic.fails(words, STRONGER) for topic in topics]
    kind = mu.kind if element.exact else Kind.ESTIMATED
    why = mu.why if element.exact else "the source condition was met by conjugate gradients only"
    w = _worst(up(element.w_norm))
    choice = "With alpha = delta / (sigma^2 ||w||) and noise of norm at most delta"
    if mu.value > 0:
        root = (w / mu.value) ** 0.5
        words = f"{choice}, ||x - truth|| <= {text(root)} sqrt(delta)."
        in_norm = _RATE_NORM.says(Bound(root, kind, why), words)
    else:
        in_norm = _RATE_NORM.fails("R is monotone, but not strongly: mu = 0.", STRONGER)
    alpha = float(best_alpha(truth.known.equation, element, delta).min())
    return [
        _RATE.says(Bound(w, kind, why), f"{choice}, D(x, truth) <= {text(w)} delta."),
        in_norm,
        _BEST.says(
            Bound(alpha, kind, why),
            "delta / (sigma^2 ||w||), the smallest of a batch; it depends on this truth.",
        ),
    ]


def _bias(truth: Point, delta: Tensor) -> list[Statement]:
    known, mu = truth.known, truth.known.mu
    if mu is None or mu.value <= 0:
        words = "No modulus of R is known." if mu is None else f"mu = {mu} is not positive."
        return [topic.fails(words, STRONGER) for topic in (_LOSS, _UPPER)]
    element = bias_element(truth)
    loss = _worst(element.upper)
    price, bias = text(_worst(known.beta / known.weight)), text(loss**0.5 / mu.value)
    words = (
        "min over w of ||R(truth) - A^T w||^2 + beta ||w||^2 with beta = sigma^2 alpha mu = "
        f"{price}; without noise the error is at most sqrt(S_beta) / mu = {bias}."
    )
    return [
        _LOSS.says(replace(mu, value=loss), words),
        _UPPER.says(
            Bound(_worst(upper_error(truth, element, delta)), known.kind, mu.why),
            "With this alpha and noise of at most the given norm the error is at most this.",
        ),
    ]
