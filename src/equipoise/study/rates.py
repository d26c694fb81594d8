"""How fast the error vanishes with the noise: measured slopes beside proved bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.bounds import Kind, inflate
from equipoise.certify import absolute_bregman_distance, rate_bounds
from equipoise.equation import Equation
from equipoise.status import Solution, Status
from equipoise.study.cases import Case
from equipoise.study.closed_form import closed_form_difference
from equipoise.study.gap import gap_bound
from equipoise.study.records import CaseRecord, Number, Panel, Series
from equipoise.study.regimes import Spectrum, spectrum_of
from equipoise.study.settings import StudySettings
from equipoise.study.slopes import Interval, geometric_mean, slope_interval
from equipoise.study.solving import equation_of, only_solved, solve_case, worst_status
from equipoise.study.truths import Rule, SourceTruth, source_truth
from equipoise.vectors import norm

#: Noise relative to the clean data, three decades and a half.
LEVELS = tuple(10.0 ** (-1.0 - k / 2) for k in range(8))


RULES = (
    Rule("linear", "α = cδ", 1.0),
    Rule("root", "α ~ √δ", 0.5),
    Rule("square", "α ~ δ²", 2.0),
)
#: The rule with theory's optimal order; the others show what it costs to leave it.
BEST = RULES[0]

#: Quantities: name -> title and label of the axis.
QUANTITIES = {
    "norm": ("Error in norm", "‖x − x†‖ / ‖x†‖"),
    "bregman": ("Bregman distance", "⟨R(x) − R(x†), x − x†⟩"),
    "residual": ("Data residual", "‖Ax − yδ‖ / ‖y‖"),
}


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one rule gave: tensors of shape (levels, draws), NaN where a solve did not converge.

    Args:
        values: the quantities of :data:`QUANTITIES`.
        bounds: PROVED (or ESTIMATED, see kind) upper bounds of those that have one.
        kind: standing of the bounds.
        alpha: the strengths used, shape (levels,).
        statuses: of every solve, level by level.
        off: largest relative difference from the closed form; None where there is none.
    """

    values: dict[str, Tensor]
    bounds: dict[str, Tensor]
    kind: Kind
    alpha: Tensor
    statuses: tuple[tuple[Status, ...], ...]
    off: float | None


def run_case(case: Case, settings: StudySettings) -> CaseRecord:
    """Let the noise vanish with alpha as three powers of it, in one case.

    The truth satisfies the source condition exactly (:func:`source_truth`); noise of norm exactly
    delta is drawn anew for every level and draw.

    Args:
        case: physics, regulariser and images.
        settings: noise levels, draws, accuracy.
    """
    levels = torch.tensor(settings.noise_levels or LEVELS, dtype=torch.float64)
    levels = levels.sort(descending=True).values
    truth = source_truth(case, settings)
    repeated = truth.repeated(settings.repeats)
    measured = {rule.name: measure(case, repeated, rule, levels, settings) for rule in RULES}
    equation = equation_of(case, truth.y, 1.0)
    spectrum = spectrum_of(equation, measured[BEST.name].alpha)
    statuses = [s for m in measured.values() for row in m.statuses for s in row]
    numbers = _numbers(levels, measured, spectrum)
    return case.record(
        [*statuses, *truth.status],
        panels=tuple(_panel(name, levels, measured) for name in QUANTITIES),
        numbers=(_source_number(truth), *_closed_form_number(measured[BEST.name]), *numbers),
        findings=_findings(levels, spectrum, numbers),
    )


def measure(
    case: Case, truth: SourceTruth, rule: Rule, levels: Tensor, settings: StudySettings
) -> Measurement:
    """Solve for falling noise and measure the error, with the bound of theory for every solve.

    Args:
        case: physics and regulariser.
        truth: B samples, one for each draw.
        rule: alpha as a function of the noise.
        levels: falling noise levels relative to the clean data, shape (L,).
        settings: seed and accuracy.
    """
    generator = torch.Generator().manual_seed(settings.seed + 1)
    values: dict[str, list[Tensor]] = {name: [] for name in QUANTITIES}
    bounds: dict[str, list[Tensor]] = {}
    alphas, statuses, kind, start = [], [], Kind.PROVED, truth.x
    off = None
    for alpha, y in rule.data(case, truth, levels, generator):
        found = solve_case(case, y, alpha, settings, start)
        start = found.x
        equation = equation_of(case, y, alpha)
        for name, value in _errors(equation, found, truth).items():
            values[name].append(value)
        limits, kind = _limits(equation, found, truth)
        for name, value in limits.items():
            bounds.setdefault(name, []).append(value)
        off = _worse(off, case, y, alpha, found.x)
        alphas.append(alpha)
        statuses.append(tuple(found.statuses))
    return Measurement(
        {name: torch.stack(rows) for name, rows in values.items()},
        {name: torch.stack(rows) for name, rows in bounds.items()},
        kind,
        torch.tensor(alphas, dtype=torch.float64),
        tuple(statuses),
        off,
    )


def _worse(off: float | None, case: Case, y: Tensor, alpha: float, x: Tensor) -> float | None:
    """The larger one of the differences from the closed form so far; None where there is none."""
    found = closed_form_difference(case.physics, case.regularizer, y, alpha, x)
    return off if found is None else max(off or 0.0, float(found.max()))


def _errors(equation: Equation, found: Solution, truth: SourceTruth) -> dict[str, Tensor]:
    misfit = equation.physics.A(found.x) - equation.y
    errors = {
        "norm": norm(found.x - truth.x) / norm(truth.x),
        "bregman": absolute_bregman_distance(equation.regularizer, found.x, truth.x),
        "residual": norm(misfit) / norm(truth.y),
    }
    return {name: only_solved(value, found) for name, value in errors.items()}


def _limits(
    equation: Equation, found: Solution, truth: SourceTruth
) -> tuple[dict[str, Tensor], Kind]:
    """Bounds of Thm 5 with the residuals of both solves paid for. Where the singular values have a
    gap, norm and Bregman distance are also bounded through it, and the smaller bound counts."""
    pair = rate_bounds(equation, found.x, truth.x, truth.element)
    limits: dict[str, Tensor] = {}
    if pair.bregman is None or pair.data is None or pair.residual is None:
        return limits, pair.kind
    limits["bregman"] = pair.bregman
    limits["residual"] = pair.residual / norm(truth.y)
    mu = equation.traits.modulus
    if pair.distance is None or mu is None or not mu.value > 0:
        return limits, pair.kind  # ||A d|| / s_- at best, which says nothing of a blur
    distance = pair.distance
    gap = gap_bound(equation, found.x, truth.x, truth.element, pair.data)
    if gap is not None:
        distance = torch.minimum(gap, distance)
        lipschitz = equation.traits.lipschitz
        assert lipschitz is not None, "gap_bound needs it"
        limits["bregman"] = torch.minimum(
            pair.bregman, inflate(lipschitz.value) * distance.square()
        )
    limits["norm"] = distance / norm(truth.x)
    return limits, pair.kind


def _panel(quantity: str, levels: Tensor, measured: dict[str, Measurement]) -> Panel:
    title, label = QUANTITIES[quantity]
    x = tuple(levels.tolist())
    curves: list[Series] = []
    for rule in RULES:
        found = measured[rule.name]
        means = [geometric_mean(row) for row in found.values[quantity]]
        status = tuple(worst_status(row) for row in found.statuses)
        curves.append(Series.of_means(rule.name, rule.label, x, means, status))
        if quantity in found.bounds:
            tops = tuple(geometric_mean(row).value for row in found.bounds[quantity])
            curves.append(
                Series(f"{rule.name}_bound", "bound", x, tops, role="bound", kind=found.kind)
            )
    return Panel(quantity, title, "relative noise δ / ‖y‖", label, tuple(curves))


def _source_number(truth: SourceTruth) -> Number:
    return Number(
        "source_element_norm",
        "‖w‖, largest of the truths",
        float(truth.element.w_norm.max()),
        status=worst_status(truth.status),
        words="R(x†) = Aᵀw by construction, up to the residual of one solve: "
        f"{float(truth.element.residual_norm.max()):.1e}.",
    )


def _closed_form_number(found: Measurement) -> tuple[Number, ...]:
    if found.off is None:
        return ()
    title = f"{BEST.label}: largest relative difference from the closed form"
    return (Number("closed_form_difference", title, found.off, theory=0.0),)


def _numbers(
    levels: Tensor, measured: dict[str, Measurement], spectrum: Spectrum
) -> tuple[Number, ...]:
    numbers = []
    for rule in RULES:
        found = measured[rule.name]
        theory = spectrum.exponents(rule.power)
        status = worst_status(s for row in found.statuses for s in row)
        for name, (title, _) in QUANTITIES.items():
            noun = title[0].lower() + title[1:]
            slope: Interval = slope_interval(levels, found.values[name])
            bounded = name in found.bounds
            numbers.append(
                Number(
                    f"slope_{name}_{rule.name}",
                    f"{rule.label}: slope, {noun}",
                    slope.value,
                    low=slope.low,
                    high=slope.high,
                    theory=theory[name] if bounded else None,
                    status=status,
                    words=f"mean of the slopes of {slope.draws} draws (images and noise), "
                    "95 % t-interval"
                    + ("" if bounded else "; no bound, hence no exponent: its hypotheses fail"),
                    main=rule is BEST,
                )
            )
            if bounded:
                ratio = (found.values[name] / found.bounds[name]).nan_to_num(0.0)
                numbers.append(
                    Number(
                        f"largest_ratio_{name}_{rule.name}",
                        f"{rule.label}: largest error / bound, {noun}",
                        float(ratio.max()),
                        kind=found.kind,
                        status=status,
                        words="at most 1 if theory and program are right",
                        main=rule is BEST,
                    )
                )
    return tuple(numbers)


def _findings(levels: Tensor, spectrum: Spectrum, numbers: tuple[Number, ...]) -> tuple[str, ...]:
    decades = math.log10(float(levels[0] / levels[-1])) if len(levels) > 1 else 0.0
    lines = [spectrum.words]
    sharp = spectrum.regime in ("across", "gap")
    for name, (title, _) in QUANTITIES.items():
        slope = next(n for n in numbers if n.name == f"slope_{name}_{BEST.name}")
        if slope.value is None or not math.isfinite(slope.value):
            lines.append(f"{title}: no slope, because solves did not converge.")
            continue
        theory = "no bound applies" if slope.theory is None else f"theory {slope.theory:g}"
        lines.append(
            f"{title}: measured exponent {slope.value:.2f} "
            f"[{slope.low:.2f}, {slope.high:.2f}] over {decades:.1f} decades, {theory}"
            + ("." if sharp or slope.theory is None else " at least.")
        )
    ratios = [n for n in numbers if n.name.startswith("largest_ratio")]
    if ratios:
        worst = max(n.value or 0.0 for n in ratios)
        lines.append(
            f"Largest measured error relative to its {ratios[0].kind} bound, over all rules and "
            f"levels: {worst:.3f}."
        )
    return tuple(lines)
