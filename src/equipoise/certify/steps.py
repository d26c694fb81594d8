"""How fast simple iterations are sure to converge: the table of the theory's section 2."""

from __future__ import annotations

import math
from dataclasses import dataclass

from equipoise.bounds import Bound, Kind, inflate
from equipoise.certify.claims import DECLARE, Topic, text
from equipoise.certify.hypotheses import Hypotheses, standing
from equipoise.certify.statement import Section, Statement
from equipoise.checks import require_positive

#: Error, relative to that of the starting point, for which steps are counted.
ACCURACY = 1e-3
#: Rounding of a factor below 1 that is computed as 1 minus a small number.
UNIT = 8 * 2.0**-52

_GRADIENT, _RESOLVENT = "Gradient step", "Resolvent step"
_SOURCE, _CONTRACTS = "theory, section 2", "m > 0, R Lipschitz"
_BEST = Topic("contraction_factor", "Worst-case factor of the error per step", _CONTRACTS, _SOURCE)
_LIMIT = Topic(
    "gradient_step_limit",
    "Gradient step: step sizes that converge, upper limit",
    _CONTRACTS,
    _SOURCE,
)


@dataclass(frozen=True)
class Step:
    """A fixed-point map whose factor of contraction is known.

    Args:
        parameter: tau of ``x - tau E(x)`` or c of ``x - (A^T A + c I)^{-1} E(x)``, the best one.
        factor: Lipschitz constant of the map, below 1.
        kind: PROVED if all constants behind it are.
        assumes: its hypotheses.
    """

    parameter: float
    factor: float
    kind: Kind
    assumes: str

    def steps(self, accuracy: float) -> int:
        """Steps after which the error is at most ``accuracy`` times the first one.

        Formula: ``log(accuracy) / log(factor)``, rounded up.
        """
        require_positive("accuracy", accuracy)
        if self.factor <= 0.0:
            return 1
        return math.ceil(inflate(math.log(accuracy) / math.log(self.factor)))


def gradient_factor(known: Hypotheses, tau: float) -> float:
    """Lipschitz constant of ``x -> x - tau E(x)`` for a given step size, rounded up.

    Formula: ``max(|1 - tau m|, |1 - tau L_E|)`` under (D), else
    ``sqrt(1 - 2 tau m + tau^2 L_E^2)``; infinite where m or L_E are unknown.
    """
    m, largest = known.m, known.largest
    if m is None or largest is None:
        return math.inf
    if known.traits.disc:
        factor = max(abs(1.0 - tau * m.value), abs(1.0 - tau * largest.value))
    else:
        square = 1.0 - 2.0 * tau * m.value + (tau * largest.value) ** 2
        factor = math.sqrt(max(0.0, square))
    return factor + UNIT


def resolvent_factor(known: Hypotheses, c: float) -> float:
    """Lipschitz constant of ``x -> x - (A^T A + c I)^{-1} E(x)``, rounded up.

    Formula: ``max(|c - alpha mu|, |c - alpha L|) / (s_-^2 + c)`` under (D), else
    ``sqrt(c^2 - 2 c alpha mu + alpha^2 L^2) / (s_-^2 + c)``, for the worst alpha of the batch;
    infinite where mu or L are unknown.
    """
    if known.mu is None or known.lipschitz is None or known.low.value + c <= 0:
        return math.inf
    mu, high = known.mu.value, known.lipschitz.value

    def reach(alpha: float) -> float:  # convex in alpha: largest at an end
        if known.traits.disc:
            return max(abs(c - alpha * mu), abs(c - alpha * high))
        return math.sqrt(max(0.0, c * c - 2.0 * c * alpha * mu + (alpha * high) ** 2))

    return max(reach(alpha) for alpha in known.alpha_range) / (known.low.value + c) + UNIT


def gradient_step(known: Hypotheses) -> Step | None:
    """The best certified gradient step, or None where m > 0 is not known.

    Formula: ``tau = 2 / (m + L_E)`` under (D), else ``tau = m / L_E^2``.
    """
    m, largest = known.m, known.largest
    if m is None or largest is None or m.value <= 0:
        return None
    tau = 2.0 / (m.value + largest.value) if known.traits.disc else m.value / largest.value**2
    return _step(known, tau, gradient_factor(known, tau), m, largest)


def resolvent_step(known: Hypotheses) -> Step | None:
    """The best certified resolvent step, or None where none is known to contract.

    Formula: ``c = alpha (mu + L) / 2`` under (D), else ``c = alpha (mu s_-^2 + alpha L^2) / m``,
    but not negative.
    """
    m = known.m
    if m is None or known.mu is None or known.lipschitz is None or m.value <= 0:
        return None
    mu, high, alpha = known.mu.value, known.lipschitz.value, known.alpha_range[1]
    if known.traits.disc:
        pulls = [a * value for a in known.alpha_range for value in (mu, high)]
        c = 0.5 * (min(pulls) + max(pulls))
    else:
        c = alpha * (mu * known.low.value + alpha * high**2) / m.value
    c = max(c, 0.0)
    factor = resolvent_factor(known, c)
    return _step(known, c, factor, known.low, known.mu, known.lipschitz)


def _step(known: Hypotheses, parameter: float, factor: float, *used: Bound) -> Step | None:
    if not factor < 1.0:
        return None
    assumes = "m > 0, hypothesis (D)" if known.traits.disc else _CONTRACTS
    return Step(parameter, factor, standing(*used), assumes)


def solving_section(known: Hypotheses) -> Section:
    """State step sizes, contraction factors and worst-case numbers of steps.

    Args:
        known: the constants of the equation.
    """
    gradient, resolvent = gradient_step(known), resolvent_step(known)
    invertible = known.equation.data.shifted_inverse(1.0) is not None
    statements = [_best(known, gradient, resolvent if invertible else None)]
    statements += [_largest_step(known), *_describe(known, gradient, "gradient")]
    statements += _describe(known, resolvent, "resolvent")
    return Section("Solving", tuple(statements))


def _best(known: Hypotheses, gradient: Step | None, resolvent: Step | None) -> Statement:
    """The better of the two maps, for which the section's first number stands."""
    pairs = [(_GRADIENT, gradient), (_RESOLVENT, resolvent)]
    found = [(step.factor, what, step) for what, step in pairs if step is not None]
    proved = [entry for entry in found if entry[2].kind is Kind.PROVED]
    if not found:
        return _BEST.fails(*_why_not(known))
    factor, what, step = min(proved or found, key=lambda entry: entry[0])
    words = (
        f"{what}: every step brings any point at least this much nearer to the equilibrium; "
        f"{step.steps(0.1)} steps a decimal digit, {step.steps(ACCURACY)} steps for an error of "
        f"{ACCURACY:g} of the first one."
    )
    return _BEST.says(Bound(factor, step.kind), words, step.assumes)


def _largest_step(known: Hypotheses) -> Statement:
    m, largest = known.m, known.largest
    if m is None or largest is None:
        return _LIMIT.fails(*_why_not(known))
    kind, why = standing(m, largest), largest.why if m.proved else m.why
    if known.traits.disc and m.value >= 0 and largest.value > 0:
        limit = Bound(2.0 / inflate(largest.value), kind, why)
        end = "." if m.value > 0 else " if there is an equilibrium; no rate is proved (m = 0)."
        words = f"x - tau E(x) converges for every positive tau below 2 / L_E{end}"
        return _LIMIT.says(limit, words, "R monotone or m > 0, (D)")
    if m.value <= 0:
        return _LIMIT.fails(*_why_not(known))
    limit = Bound(2.0 * m.value / inflate(largest.value**2), kind, why)
    words = "x - tau E(x) is a contraction for every positive tau below 2 m / L_E^2."
    return _LIMIT.says(limit, words)


def _describe(known: Hypotheses, step: Step | None, which: str) -> list[Statement]:
    """Parameter, factor and numbers of steps of one map."""
    gradient = which == "gradient"
    map_, letter = (_GRADIENT, "tau") if gradient else (_RESOLVENT, "c")

    def topic(name: str, title: str) -> Topic:
        return Topic(f"{which}_{name}", f"{map_}: {title}", _CONTRACTS, _SOURCE)

    factor = topic("factor", "factor of the error per step")
    if step is None:
        return [factor.fails(*_why_not(known))]
    formula = "x - tau E(x)" if gradient else "x - (A^T A + c I)^{-1} E(x)"
    rows = (
        (
            topic("step" if gradient else "shift", f"best {letter}"),
            step.parameter,
            f"The parameter with the smallest proved factor for {formula}.",
        ),
        (
            factor,
            step.factor,
            f"{formula} brings two points nearer by at least this factor, with {letter} = "
            f"{text(step.parameter)}.",
        ),
        (
            topic("steps_per_digit", "steps per decimal digit"),
            step.steps(0.1),
            "In the worst case the error falls tenfold in this many steps.",
        ),
        (
            topic("steps", f"steps to {ACCURACY:g} of the first error"),
            step.steps(ACCURACY),
            "In the worst case the error relative to the starting point's falls to that in so "
            "many steps.",
        ),
    )
    why = _estimate(known)
    return [
        row.says(Bound(float(value), step.kind, why), words, step.assumes)
        for row, value, words in rows
    ]


def _estimate(known: Hypotheses) -> str:
    """Which constant is only estimated."""
    named = {"m": known.m, "||A||": known.high, "L": known.lipschitz}
    loose = [f"{name}: {b.why}" for name, b in named.items() if b is not None and not b.proved]
    return "; ".join(loose)


def _why_not(known: Hypotheses) -> tuple[str, str]:
    """Why no contraction is known, and what would mend it."""
    if not known.strong:
        words, advice = known.failing
        return f"No contraction is proved. {words}", advice
    if known.lipschitz is None:
        return "No Lipschitz constant of R is known.", DECLARE
    return (
        "The proved constants leave no factor that is distinguishable from 1.",
        "Use a smoother field (smaller L) or a larger alpha mu.",
    )
