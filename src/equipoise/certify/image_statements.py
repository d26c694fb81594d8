"""What a certificate says of one reconstruction, and of one ground truth.

A batch gets one number for all its samples: the largest upper and the smallest lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.bounds import Bound, Kind
from equipoise.certify.claims import claim, refusal, text
from equipoise.certify.hypotheses import STRONGER, Hypotheses, standing
from equipoise.certify.lower_bound import LowerBound, floor_at, lower_at
from equipoise.certify.posteriori import distance_above, distance_below
from equipoise.certify.rates import best_alpha, bias_element, upper_error
from equipoise.certify.rounding import allowance, length, up
from equipoise.certify.source_condition import SourceElement, least_norm_element
from equipoise.certify.statement import Statement
from equipoise.equation import Equation


@dataclass(frozen=True)
class _Topic:
    """The parts of a statement that do not depend on numbers."""

    name: str
    title: str
    assumes: str
    source: str

    def says(self, bound: Bound, words: str) -> Statement:
        return claim(self.name, self.title, bound, self.assumes, self.source, words)

    def fails(self, words: str, advice: str) -> Statement:
        return refusal(self.name, self.title, self.assumes, self.source, words, advice)


_ABOVE = _Topic(
    "distance_upper",
    "Distance to the exact equilibrium, from above",
    "m = s_-^2 + alpha mu > 0",
    "theory, section 2",
)
_BELOW = _Topic(
    "distance_lower",
    "Distance to any equilibrium, from below",
    "R Lipschitz",
    "theory, section 2",
)
_FLOOR = _Topic(
    "error_floor",
    "Error that no noise level and no alpha goes below",
    "R Lipschitz",
    "theory, Thm 6(a)",
)
_LOWER = _Topic(
    "error_lower_bound",
    "Error for this alpha and noise level, from below",
    "R Lipschitz",
    "theory, Thm 6(b), 6(c)",
)
_NORM = _Topic("source_norm", "Norm of the source element w", "none", "theory, section 5")
_RESIDUAL = _Topic(
    "source_residual", "Part of R(truth) that A^T w misses", "none", "theory, section 5"
)
_LOSS = _Topic(
    "source_loss", "Source loss S_beta at the truth, from above", "mu > 0", "theory, section 7"
)
_UPPER = _Topic(
    "error_upper_bound",
    "Error for this alpha and noise level, from above",
    "mu > 0",
    "theory, Thm 7",
)
#: Where no finite Lipschitz constant of R is known.
_UNBOUNDED = (
    "No finite Lipschitz constant of R is known.",
    "Use a field from the catalogue, or declare traits() that can be proved.",
)
_RATE = _Topic(
    "rate_bregman",
    "Constant c of the rate D <= c delta",
    "R monotone, R(truth) = A^T w",
    "theory, Thm 5",
)
_RATE_NORM = _Topic(
    "rate_norm",
    "Constant c of the rate ||x - truth|| <= c sqrt(delta)",
    "mu > 0, R(truth) = A^T w",
    "theory, Thm 5",
)
_BEST = _Topic(
    "best_alpha",
    "alpha with the smallest bound on D for this noise level",
    "R monotone, R(truth) = A^T w",
    "theory, Thm 5",
)


def posterior_statements(equation: Equation, x: Tensor) -> tuple[Statement, ...]:
    """State how far a reconstruction is from the exact equilibrium.

    Statements: ``distance_upper`` and ``distance_lower``.

    Args:
        equation: with the squared norm.
        x: the reconstruction, shape (B, C, ...).

    Raises:
        HypothesisError: for a data fidelity other than the squared norm.
        InputError: if x does not match the equation.
    """
    known = Hypotheses(equation)
    known.check_images(x=x)
    mu, lipschitz = known.modulus, known.lipschitz
    e, slack = known.residual(x)
    if known.m is None or mu is None:
        above = _ABOVE.fails(known.failure, known.advice)
    else:
        above = _ABOVE.says(
            Bound(_worst(distance_above(known, e, slack)), known.kind, mu.why),
            "The reconstruction is at most this far from the one equilibrium.",
        )
    if lipschitz is None or not known.lipschitz_is_finite:
        return above, _BELOW.fails(*_UNBOUNDED)
    value = float(distance_below(known, e, slack, lipschitz.value).min())
    why = known.high.why if lipschitz.proved else lipschitz.why
    below = _BELOW.says(
        Bound(value, standing(lipschitz, known.high), why),
        "The reconstruction is at least this far from every equilibrium.",
    )
    return above, below


def lower_bound_statements(
    equation: Equation, truth: Tensor, noise_norm: float | Tensor | None = None
) -> tuple[Statement, ...]:
    """State which errors the method cannot avoid for a ground truth.

    Statements: ``error_floor``, and ``error_lower_bound`` where a noise level is given.

    Args:
        equation: with the squared norm; its y plays no part.
        truth: the image z, shape (B, C, ...).
        noise_norm: bound on ``||y - A z||``, a number or one for each sample, or None.

    Raises:
        HypothesisError: for a data fidelity other than the squared norm.
        InputError: if ``truth`` does not match the equation or ``noise_norm`` is negative.
    """
    known = Hypotheses(equation)
    known.check_images(truth=truth)
    if not known.lipschitz_is_finite:
        topics = (_FLOOR,) if noise_norm is None else (_FLOOR, _LOWER)
        return tuple(topic.fails(*_UNBOUNDED) for topic in topics)
    field = known.field(truth)
    floor = _FLOOR.says(
        _least(floor_at(known, truth, field)),
        "Every equilibrium, for any data and any alpha, is at least this far from the truth.",
    )
    if noise_norm is None:
        return (floor,)
    lower = _LOWER.says(
        _least(lower_at(known, truth, field, known.noise(noise_norm))),
        "With this alpha and noise of at most the given norm, every equilibrium is at least this "
        "far from the truth.",
    )
    return floor, lower


def source_statements(
    equation: Equation, truth: Tensor, noise_norm: float | Tensor | None = None
) -> tuple[Statement, ...]:
    """State how well R(z) is of the form A^T w for a ground truth z, and what follows from it.

    Statements: ``source_norm``, ``source_residual``, ``rate_bregman``, ``rate_norm``,
    ``source_loss``, and with a noise level ``best_alpha`` and ``error_upper_bound``.

    Args:
        equation: with the squared norm; its y plays no part.
        truth: the image z, shape (B, C, ...).
        noise_norm: bound on ``||y - A z||``, a number or one for each sample, or None.

    Raises:
        HypothesisError: for a data fidelity other than the squared norm.
        InputError: if ``truth`` does not match the equation or ``noise_norm`` is negative.
    """
    known = Hypotheses(equation)
    known.check_images(truth=truth)
    field = known.field(truth)
    element = least_norm_element(equation.physics, field)
    return (
        *_element(known, element),
        *_rates(known, element, truth, field, noise_norm),
        *_bias(known, truth, field, noise_norm),
    )


def _worst(values: Tensor) -> float:
    return float(values.max())


def _least(bound: LowerBound) -> Bound:
    return Bound(float(bound.value.min()), bound.kind, bound.why)


def _element(known: Hypotheses, element: SourceElement) -> tuple[Statement, Statement]:
    if known.calculus is not None:
        exact = known.calculus.kernel_is_exact
        kind = Kind.PROVED if exact else Kind.ESTIMATED
        why = "singular values below the rounding of the largest one were taken as 0"
    else:
        beta = _worst(element.beta)
        kind = Kind.ESTIMATED
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


def _rates(
    known: Hypotheses,
    element: SourceElement,
    truth: Tensor,
    field: Tensor,
    noise_norm: float | Tensor | None,
) -> list[Statement]:
    topics = [_RATE, _RATE_NORM] + ([_BEST] if noise_norm is not None else [])
    missed = element.residual_norm
    rounding = allowance(known.field_size(truth, field), truth.dtype)  # of R(truth) itself
    if bool((missed > rounding).any()):
        share = _worst(missed / length(field).clamp_min(torch.finfo(torch.float64).tiny))
        words = f"The source condition is not met: A^T w misses {share:.2%} of R(truth)."
        advice = (
            "Train R such that R(x) is nearly in the range of A^T (mode source-condition); "
            "error_upper_bound needs no source condition."
        )
        return [topic.fails(words, advice) for topic in topics]
    mu = known.modulus
    if mu is None or mu.value < 0:
        words = "No modulus of R is known." if mu is None else f"R is not monotone: mu = {mu}."
        return [topic.fails(words, STRONGER) for topic in topics]
    kind = mu.kind if element.exact else Kind.ESTIMATED
    why = mu.why if element.exact else "the source condition was met by conjugate gradients only"
    w = _worst(up(element.w_norm))
    choice = "With alpha = delta / (sigma^2 ||w||) and noise of norm at most delta"
    found = [_RATE.says(Bound(w, kind, why), f"{choice}, D(x, truth) <= {text(w)} delta.")]
    if mu.value > 0:
        root = (w / mu.value) ** 0.5
        words = f"{choice}, ||x - truth|| <= {text(root)} sqrt(delta)."
        found.append(_RATE_NORM.says(Bound(root, kind, why), words))
    else:
        found.append(_RATE_NORM.fails("R is monotone, but not strongly: mu = 0.", STRONGER))
    if noise_norm is not None:
        alpha = float(best_alpha(known.equation, element, noise_norm).min())
        words = "delta / (sigma^2 ||w||), the smallest of a batch; it depends on this truth."
        found.append(_BEST.says(Bound(alpha, kind, why), words))
    return found


def _bias(
    known: Hypotheses, truth: Tensor, field: Tensor, noise_norm: float | Tensor | None
) -> list[Statement]:
    mu, beta = known.modulus, known.beta
    if mu is None or mu.value <= 0 or beta is None:
        words = "No modulus of R is known." if mu is None else f"mu = {mu} is not positive."
        topics = [_LOSS] + ([_UPPER] if noise_norm is not None else [])
        return [topic.fails(words, STRONGER) for topic in topics]
    element = bias_element(known, field)
    loss = _worst(element.upper)
    kind = standing(mu)
    price, bias = text(_worst(beta / known.weight)), text(loss**0.5 / mu.value)
    words = (
        "min over w of ||R(truth) - A^T w||^2 + beta ||w||^2 with beta = sigma^2 alpha mu = "
        f"{price}; without noise the error is at most sqrt(S_beta) / mu = {bias}."
    )
    found = [_LOSS.says(Bound(loss, kind, mu.why), words)]
    if noise_norm is not None:
        error = _worst(upper_error(known, truth, field, element, known.noise(noise_norm)))
        words = "With this alpha and noise of at most the given norm the error is at most this."
        found.append(_UPPER.says(Bound(error, known.kind, mu.why), words))
    return found
