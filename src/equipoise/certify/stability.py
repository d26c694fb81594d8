"""How far equilibria move when the data do: the constants of the theory's section 3.

With ``d = x1 - x2``, ``dy = y1 - y2`` the equations give ``||A d||^2 + alpha D = <dy, A d>``. If
``mu < 0 < m`` then ``alpha D >= alpha mu ||d||^2 >= (alpha mu / s_-^2) ||A d||^2``, hence
``||A d|| <= s_-^2 / m ||dy||``; and D may be negative, but not below ``mu gamma^2 ||dy||^2``.
"""

from __future__ import annotations

import math

from equipoise.bounds import Bound, Kind, inflate
from equipoise.certify.claims import claim, refusal
from equipoise.certify.existence import failing
from equipoise.certify.setting import Setting
from equipoise.certify.statement import Section, Statement

_SOURCE = "theory, Thm 2"
_MONOTONE = "R monotone, or m = s_-^2 + alpha mu > 0"
_STRONG = "m = s_-^2 + alpha mu > 0"


def stability_section(known: Setting) -> Section:
    """State the constants in ``||A d||``, ``alpha D`` and ``||d||`` against ``||y1 - y2||``.

    Here ``d = x1 - x2`` for equilibria of any data y1, y2, and ``D = <R(x1) - R(x2), d>``.

    Args:
        known: the constants of the equation.
    """
    return Section(
        "Stability",
        (_norm(known), _data(known), _bregman(known), _alpha(known)),
    )


def norm_constant(known: Setting) -> Bound | None:
    """gamma with ``||x1 - x2|| <= gamma ||y1 - y2||``, rounded up; None where m <= 0 or unknown.

    Formula: ``sqrt(w) max s / (s^2 + alpha mu)`` over s in ``[s_-, s_+]``, the singular values of
    ``sqrt(w) A``: at ``sqrt(alpha mu)`` clipped to the interval, at s_- for ``mu < 0``. Where s_+
    is only estimated it is not used.
    """
    if not known.strong:
        return None
    assert known.pull is not None
    pull, low = known.pull.value, math.sqrt(known.low.value)
    high = math.sqrt(known.high.value) if known.high.proved else math.inf
    s = min(max(math.sqrt(max(pull, 0.0)), low), high)
    kind = Kind.PROVED if known.low.proved and known.pull.proved else Kind.ESTIMATED
    value = s / (s * s + pull) if s > 0 else 0.0
    return Bound(inflate(math.sqrt(known.weight) * value), kind, known.pull.why)


def data_constant(known: Setting) -> Bound | None:
    """The constant in ``||A (x1 - x2)|| <= c ||y1 - y2||``, rounded up.

    Formula: ``max s^2 / (s^2 + alpha mu)`` over s in ``[s_-, s_+]``: at s_+ for ``mu >= 0`` (1
    where s_+ is not proved), at s_- for ``mu < 0 < m``, where it is ``s_-^2 / m >= 1``.
    """
    if known.pull is None or not (known.monotone or known.strong):
        return None
    pull = known.pull.value
    if pull < 0:
        assert known.modulus is not None
        return Bound(
            inflate(known.low.value / known.modulus.value), known.modulus.kind, known.modulus.why
        )
    if not known.high.proved:
        return Bound(inflate(1.0), known.pull.kind, known.pull.why)
    high = known.high.value
    return Bound(
        inflate(high / (high + pull)) if high > 0 else 0.0, known.pull.kind, known.pull.why
    )


def bregman_constant(known: Setting) -> Bound | None:
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


def _norm(known: Setting) -> Statement:
    name, title = "stability_norm", "Stability of the image: ||x1 - x2|| / ||y1 - y2||"
    bound = norm_constant(known)
    if bound is None:
        return _refused(known, name, title, _STRONG)
    words = "A change of the data moves the equilibrium by at most this multiple of it."
    return claim(name, title, bound, _STRONG, _SOURCE, words)


def _data(known: Setting) -> Statement:
    name, title = "stability_data", "Stability of the data: ||A (x1 - x2)|| / ||y1 - y2||"
    bound = data_constant(known)
    if bound is None:
        return _refused(known, name, title, _MONOTONE)
    words = "A change of the data moves A x at equilibria by at most this multiple of it."
    return claim(name, title, bound, _MONOTONE, _SOURCE, words)


def _bregman(known: Setting) -> Statement:
    distance = "D" if known.monotone else "|D|"
    name, title = "stability_bregman", f"Stability: alpha {distance}(x1, x2) / ||y1 - y2||^2"
    bound = bregman_constant(known)
    if bound is None:
        return _refused(known, name, title, _MONOTONE)
    what = (
        "The symmetric Bregman distance"
        if known.monotone
        else "The absolute value of <R(x1) - R(x2), x1 - x2>, which may be negative,"
    )
    words = f"{what} of the equilibria, times alpha, is at most this multiple of ||y1 - y2||^2."
    return claim(name, title, bound, _MONOTONE, _SOURCE, words)


def _alpha(known: Setting) -> Statement:
    name = "stability_alpha"
    title = "Stability in alpha: ||x - x'|| / (|1 - alpha / alpha'| ||A x' - y||)"
    bound = norm_constant(known)
    if bound is None:
        return _refused(known, name, title, _STRONG)
    words = (
        "Going from alpha to alpha' acts like changing the data by (1 - alpha / alpha') times the "
        "residual A x' - y of the new equilibrium."
    )
    return claim(name, title, bound, _STRONG, f"{_SOURCE}, remark on alpha", words)


def _refused(known: Setting, name: str, title: str, assumes: str) -> Statement:
    words, advice = failing(known)
    return refusal(name, title, assumes, _SOURCE, words, advice)
