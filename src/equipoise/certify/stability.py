"""How far equilibria move when the data do: the constants of the theory's section 3.

With ``d = x1 - x2``, ``dy = y1 - y2`` the equations give ``||A d||^2 + alpha D = <dy, A d>``. If
``mu < 0 < m`` then ``alpha D >= alpha mu ||d||^2 >= (alpha mu / s_-^2) ||A d||^2``, hence
``||A d|| <= s_-^2 / m ||dy||``; and D may be negative, but not below ``mu gamma^2 ||dy||^2``.
"""

from __future__ import annotations

from dataclasses import replace

from equipoise.bounds import Bound, inflate
from equipoise.certify.claims import Topic
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.statement import Section, Statement

_SOURCE = "theory, Thm 2"
_MONOTONE = "R monotone, or m = s_-^2 + alpha mu > 0"
_STRONG = "m = s_-^2 + alpha mu > 0"
_NORM = Topic(
    "stability_norm", "Stability of the image: ||x1 - x2|| / ||y1 - y2||", _STRONG, _SOURCE
)
_DATA = Topic(
    "stability_data", "Stability of the data: ||A (x1 - x2)|| / ||y1 - y2||", _MONOTONE, _SOURCE
)
_BREGMAN = Topic(
    "stability_bregman", "Stability: alpha D(x1, x2) / ||y1 - y2||^2", _MONOTONE, _SOURCE
)
_SIGNED = replace(_BREGMAN, title="Stability: alpha |D|(x1, x2) / ||y1 - y2||^2")
_ALPHA = Topic(
    "stability_alpha",
    "Stability in alpha: ||x - x'|| / (|1 - alpha / alpha'| ||A x' - y||)",
    _STRONG,
    f"{_SOURCE}, remark on alpha",
)


def stability_section(known: Hypotheses) -> Section:
    """State the constants in ``||A d||``, ``alpha D`` and ``||d||`` against ``||y1 - y2||``.

    Here ``d = x1 - x2`` for equilibria of any data y1, y2, and ``D = <R(x1) - R(x2), d>``.

    Args:
        known: the constants of the equation.
    """
    gamma, data, why_not = norm_constant(known), data_constant(known), known.failing
    image = "A change of the data moves the equilibrium by at most this multiple of it."
    seen = "A change of the data moves A x at equilibria by at most this multiple of it."
    strength = (
        "Going from alpha to alpha' acts like changing the data by (1 - alpha / alpha') times the "
        "residual A x' - y of the new equilibrium."
    )
    statements = (
        _NORM.states(gamma, image, why_not),
        _DATA.states(data, seen, why_not),
        _bregman(known),
        _ALPHA.states(gamma, strength, why_not),
    )
    return Section("Stability", statements)


def norm_constant(known: Hypotheses) -> Bound | None:
    """gamma with ``||x1 - x2|| <= gamma ||y1 - y2||``, rounded up; None where m <= 0 or unknown.

    Formula: ``sqrt(w)`` times :meth:`Hypotheses.gain`, the largest of a batch.
    """
    if known.pull is None or not known.strong:
        return None
    gamma = known.whitening * float(known.gain().max())
    return Bound(inflate(gamma), known.kind, known.pull.why)


def data_constant(known: Hypotheses) -> Bound | None:
    """The constant in ``||A (x1 - x2)|| <= c ||y1 - y2||``, rounded up.

    Formula: ``max s^2 / (s^2 + alpha mu)`` over s in ``[s_-, s_+]``: at s_+ for ``mu >= 0`` (1
    where s_+ is not proved), at s_- for ``mu < 0 < m``, where it is ``s_-^2 / m >= 1``.
    """
    if known.pull is None or known.m is None or not (known.monotone or known.strong):
        return None
    if not known.monotone:
        return replace(known.m, value=inflate(known.low.value / known.m.value))
    high, pull = known.high.value, known.pull.value
    value = high / (high + pull) if high > 0 else 0.0
    return replace(known.pull, value=inflate(value if known.high.proved else 1.0))


def bregman_constant(known: Hypotheses) -> Bound | None:
    """The constant in ``|alpha D(x1, x2)| <= c ||y1 - y2||^2``, rounded up.

    Formula: ``w / 4``. For ``mu < 0 < m`` D may be negative; then also ``-alpha D <= -alpha mu
    ||d||^2``, so that c is the larger of ``w / 4`` and ``-alpha mu gamma^2``.
    """
    if known.pull is None or not (known.monotone or known.strong):
        return None
    quarter = inflate(0.25 * known.weight)
    if known.monotone:
        return Bound(quarter, known.pull.kind, known.pull.why)
    gamma = norm_constant(known)
    assert gamma is not None
    return Bound(max(quarter, inflate(-known.pull.value * gamma.value**2)), gamma.kind, gamma.why)


def _bregman(known: Hypotheses) -> Statement:
    what = (
        "The symmetric Bregman distance"
        if known.monotone
        else "The absolute value of <R(x1) - R(x2), x1 - x2>, which may be negative,"
    )
    words = f"{what} of the equilibria, times alpha, is at most this multiple of ||y1 - y2||^2."
    topic = _BREGMAN if known.monotone else _SIGNED
    return topic.states(bregman_constant(known), words, known.failing)
