r"""Existence and uniqueness of the equilibrium: which hypothesis holds, or fails and by how much.

Beyond strong monotonicity, existence is proved in two cases that the fields declare as traits.

*Attaining potentials.* R = grad r with ``r(x) = sum_k psi_k(<a_k, x> + b_k)`` over finitely many k.
Put ``f(x) = ||A x - y||^2 / 2 + alpha r(x)`` and let N be the intersection of ``ker A`` with all
``a_k^\perp``; f does not change along N. (a) If every psi_k is continuous and tends to infinity on
both sides, all terms are bounded below, so on a sublevel set of f all of them, hence ``||A x||``
and all ``|<a_k, x>|``, are bounded: its intersection with the complement of N is compact, and f
attains its minimum. (b) If every psi_k is continuous, quadratic on finitely many intervals and
bounded below, f is quadratic on each of finitely many polyhedra and bounded below; a quadratic
function that is bounded below on a polyhedron attains its minimum there (Frank and Wolfe 1956), so
f does. In both cases the minimiser solves E(x) = 0. R need not be monotone.

*Bounded fields.* If ``||R|| <= B`` and ``s_- > 0``, then
``<E(x), x> >= s_-^2 ||x||^2 - (||A^T y|| + alpha B) ||x||`` is positive on large spheres, and the
argument of Prop 1(i) (Brouwer) gives an equilibrium for every alpha.
"""

from __future__ import annotations

import math
from dataclasses import replace

from equipoise.bounds import Bound, proved
from equipoise.certify.claims import Topic
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.statement import Section, Statement

_STRONG = "m = s_-^2 + alpha mu > 0"
_STRONG_MONOTONICITY = Topic(
    "strong_monotonicity",
    "Strong monotonicity m of the equation",
    _STRONG,
    "theory, Prop 1(iii)",
)
_EXISTENCE = Topic(
    "existence",
    "Least number of equilibria",
    f"{_STRONG}; or an energy that attains its minimum; or R bounded and s_- > 0",
    "theory, Prop 1",
)
_UNIQUENESS = Topic("uniqueness", "Greatest number of equilibria", _STRONG, "theory, Prop 1(iii)")
_UNIQUE_DATA = Topic(
    "unique_data",
    "Greatest number of values that A x takes at equilibria",
    "R monotone, or m > 0",
    "theory, Prop 1(ii)",
)
_ALPHA_LIMIT = Topic(
    "alpha_limit",
    "Largest alpha with a proved unique equilibrium",
    "s_- > 0 or mu > 0",
    "theory, Prop 1(iii)",
)


def existence_section(known: Hypotheses) -> Section:
    """State what is known of the number of equilibria (theory, Prop 1).

    Args:
        known: the constants of the equation.
    """
    return Section(
        "Existence and uniqueness",
        (
            _strong_monotonicity(known),
            _existence(known),
            _uniqueness(known),
            _unique_data(known),
            _alpha_limit(known),
        ),
    )


def _one(bound: Bound | None) -> Bound:
    """One equilibrium, or one value, of the standing of the constant that decides."""
    assert bound is not None
    return replace(bound, value=1.0)


def _strong_monotonicity(known: Hypotheses) -> Statement:
    words = "<E(x) - E(z), x - z> >= m ||x - z||^2 for all images x and z."
    return _STRONG_MONOTONICITY.states(known.m if known.strong else None, words, known.failing)


def _existence(known: Hypotheses) -> Statement:
    one = "There is at least one equilibrium for every y: "
    if known.strong:
        return _EXISTENCE.says(_one(known.m), one + "E is strongly monotone.", _STRONG)
    if known.traits.attaining:
        assumes = (
            "R = grad r with potentials that grow on both sides, or are piecewise quadratic and "
            "bounded below"
        )
        words = one + "the energy ||A x - y||^2 / 2 + alpha r(x) attains its minimum."
        return _EXISTENCE.says(proved(1.0), words, assumes)
    if known.traits.bounded and known.low.value > 0:
        words = one + "A^T A x outgrows the bounded field R far away."
        return _EXISTENCE.says(_one(known.low), words, "R bounded and s_- > 0")
    words, advice = known.failing
    return _EXISTENCE.fails(f"Existence is not known. {words}", advice)


def _uniqueness(known: Hypotheses) -> Statement:
    if known.strong:
        return _UNIQUENESS.says(_one(known.m), "There is at most one equilibrium for every y.")
    words, advice = known.failing
    return _UNIQUENESS.fails(f"Uniqueness is not known. {words}", advice)


def _unique_data(known: Hypotheses) -> Statement:
    if not (known.monotone or known.strong):
        return _UNIQUE_DATA.fails(*known.failing)
    words = "A x is the same for all equilibria of one y: they differ in the kernel of A alone."
    return _UNIQUE_DATA.says(_one(known.mu if known.monotone else known.m), words)


def _alpha_limit(known: Hypotheses) -> Statement:
    limit = known.alpha_limit
    if limit.value <= 0:
        return _ALPHA_LIMIT.fails(*known.failing)
    which = "alpha" if limit.value == math.inf else "alpha up to this one"
    return _ALPHA_LIMIT.says(limit, f"There is exactly one equilibrium for every {which}.")
