"""Does the reconstruction converge as the noise vanishes, and to one point? With rules for alpha
that meet the hypotheses of the theorem and with rules that do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.equation import Equation
from equipoise.randomness import normal_like
from equipoise.status import Status
from equipoise.study.cases import Case
from equipoise.study.records import CaseRecord, Number, Panel, Series
from equipoise.study.regimes import Spectrum, spectrum_of
from equipoise.study.settings import StudySettings
from equipoise.study.slopes import Interval, geometric_mean
from equipoise.study.solving import equation_of, solve_case, worst_status
from equipoise.study.truths import Rule, SourceTruth, source_truth
from equipoise.vectors import norm

#: Noise relative to the clean data, three decades.
LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)
#: An error that changes by less than this factor from the last but one level to the last is
#: said to level off.
STEADY = 1.15


RULES = (
    Rule("linear", "α = cδ", 1.0),
    Rule("root", "α ~ √δ", 0.5),
    Rule("constant", "α constant", 0.0, "α → 0 fails"),
    Rule("cube", "α ~ δ³", 3.0, "δ²/α is unbounded"),
)

#: Quantities: name -> title, label of the axis.
QUANTITIES = {
    "error": ("Distance to x†", "‖x − x†‖ / ‖x†‖"),
    "data": ("Data error", "‖Ax − y‖ / ‖y‖"),
    "spread": ("Largest difference of solutions from two starts", "‖x₁ − x₂‖ / ‖x†‖"),
}


@dataclass(frozen=True, eq=False)
class Path:
    """What one rule gave: tensors of shape (levels, draws), NaN where a solve did not converge."""

    values: dict[str, Tensor]
    statuses: tuple[tuple[Status, ...], ...]


def run_case(case: Case, settings: StudySettings) -> CaseRecord:
    """Let the noise vanish under four rules for alpha, every equation solved from two starts.

    The truth solves the limit problem ``A x = y``, ``R(x)`` orthogonal to the kernel of A, exactly
    (:func:`source_truth`); the starts are zero and a random image.

    Args:
        case: physics, regulariser and images.
        settings: noise levels, draws, accuracy.
    """
    levels = torch.tensor(settings.noise_levels or LEVELS, dtype=torch.float64)
    levels = levels.sort(descending=True).values
    truth = source_truth(case, settings)
    paths = {
        rule.name: follow(case, truth.repeated(settings.repeats), rule, levels, settings)
        for rule in RULES
    }
    equation = equation_of(case, truth.y, 1.0)
    spectrum = spectrum_of(equation, levels)
    statuses = [s for path in paths.values() for row in path.statuses for s in row]
    statuses += truth.status
    return case.record(
        statuses,
        panels=tuple(_panel(name, levels, paths) for name in QUANTITIES),
        numbers=tuple(number for rule in RULES for number in _numbers(rule, paths[rule.name])),
        findings=_findings(equation, spectrum, paths, statuses),
    )


def follow(
    case: Case, truth: SourceTruth, rule: Rule, levels: Tensor, settings: StudySettings
) -> Path:
    """Solve for falling noise from two starts, each going on from its last solution.

    Args:
        case: physics and regulariser.
        truth: B samples, one for each draw.
        rule: alpha as a function of the noise.
        levels: falling noise levels relative to the clean data, shape (L,).
        settings: seed and accuracy.
    """
    generator = torch.Generator().manual_seed(settings.seed + 1)
    draws = len(truth.x)
    other = normal_like(truth.x, generator)
    start = torch.cat([torch.zeros_like(truth.x), other])
    scale = norm(truth.x)
    values: dict[str, list[Tensor]] = {name: [] for name in QUANTITIES}
    statuses = []
    for alpha, y in rule.data(case, truth, levels, generator):
        found = solve_case(case, torch.cat([y, y]), alpha, settings, start)
        start = found.x
        lost = ~found.converged
        one, two = found.x[:draws], found.x[draws:]
        values["error"].append((norm(one - truth.x) / scale).masked_fill(lost[:draws], math.nan))
        misfit = norm(case.physics.A(one) - truth.y) / norm(truth.y)
        values["data"].append(misfit.masked_fill(lost[:draws], math.nan))
        either = lost[:draws] | lost[draws:]
        values["spread"].append((norm(one - two) / scale).masked_fill(either, math.nan))
        statuses.append(tuple(found.statuses))
    return Path({name: torch.stack(rows) for name, rows in values.items()}, tuple(statuses))


def _panel(quantity: str, levels: Tensor, paths: dict[str, Path]) -> Panel:
    title, label = QUANTITIES[quantity]
    x, curves = tuple(levels.tolist()), []
    for rule in RULES:
        path = paths[rule.name]
        means = [_summary(quantity, row) for row in path.values[quantity]]
        words = rule.label + (f" ({rule.violates})" if rule.violates else "")
        status = tuple(worst_status(row) for row in path.statuses)
        curves.append(Series.of_means(rule.name, words, x, means, status))
    return Panel(quantity, title, "relative noise δ / ‖y‖", label, tuple(curves))


def _summary(quantity: str, draws: Tensor) -> Interval:
    """Geometric mean with interval; of the spread, which is 0 or not, the largest."""
    if quantity != "spread":
        return geometric_mean(draws)
    kept = draws[torch.isfinite(draws)]
    largest = float(kept.max()) if len(kept) else math.nan
    return Interval(largest, math.nan, math.nan, len(kept))


def _numbers(rule: Rule, path: Path) -> list[Number]:
    words = rule.violates or "hypotheses on alpha met"
    found = []
    for name, (title, _) in QUANTITIES.items():
        rows = path.values[name]
        for place, row in (("first", 0), ("last", -1)):
            mean = _summary(name, rows[row])
            found.append(
                Number(
                    f"{name}_{place}_{rule.name}",
                    f"{rule.label}: {title.lower()}, "
                    + ("largest noise" if place == "first" else "smallest noise"),
                    mean.value,
                    low=mean.low,
                    high=mean.high,
                    status=worst_status(path.statuses[row]),
                    words=words,
                    main=name == "error" and place == "last",
                )
            )
    return found


def _findings(
    equation: Equation, spectrum: Spectrum, paths: dict[str, Path], statuses: list[Status]
) -> tuple[str, ...]:
    return (
        _uniqueness(equation, spectrum),
        *(_fall(rule, paths[rule.name]) for rule in RULES),
        _spread(paths),
        *_unsolved(statuses),
    )


def _uniqueness(equation: Equation, spectrum: Spectrum) -> str:
    mu = equation.traits.modulus
    if mu is not None and mu.proved and mu.value > 0:
        return (
            "R is strongly monotone (PROVED): Thm 4 gives convergence to one x† for every rule "
            "that meets its hypotheses."
        )
    if equation.traits.monotone and spectrum.kernel is False:
        return "R is monotone (PROVED) and A has no kernel: the limit is unique."
    if equation.traits.monotone:
        return (
            "R is monotone but not known to be strictly so on the kernel of A: cluster points "
            "solve the limit problem (Thm 4), which may have several solutions."
        )
    return (
        "R is not known to be monotone: Thm 4 speaks of cluster points only, if R is coercive; "
        "there may be many, and x† is one of them."
    )


def _fall(rule: Rule, path: Path) -> str:
    first, last = (geometric_mean(path.values["error"][row]).value for row in (0, -1))
    data = geometric_mean(path.values["data"][-1]).value
    law = f"{rule.label} ({rule.violates or 'hypotheses met'})"
    if not (math.isfinite(first) and math.isfinite(last)):
        return f"{law}: no statement, because solves did not converge."
    before = (
        geometric_mean(path.values["error"][-2]).value if len(path.values["error"]) > 1 else first
    )
    step = before / last if last > 0 else math.inf
    verdict = "falls" if step > STEADY else "GROWS" if step < 1.0 / STEADY else "levels off"
    return (
        f"{law}: the distance to x† {verdict}, from {first:.2g} to {last:.2g}; "
        f"data error at the smallest noise {data:.1e}."
    )


def _spread(paths: dict[str, Path]) -> str:
    largest = max(float(path.values["spread"].nan_to_num(0.0).max()) for path in paths.values())
    met = f"The solutions from two starts differ by at most {largest:.1e} of the size of x†"
    if largest < 1e-3:
        return f"{met}: one equilibrium, as far as this shows."
    return (
        f"{met}: the equation has SEVERAL equilibria, and which one is found depends on the start."
    )


def _unsolved(statuses: list[Status]) -> list[str]:
    names = [s.name for s in statuses if s is not Status.CONVERGED]
    if not names:
        return []
    kinds = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    return [
        f"{len(names)} of {len(statuses)} solves did not converge ({kinds}); their points are "
        "marked or missing, and no mean contains them."
    ]
