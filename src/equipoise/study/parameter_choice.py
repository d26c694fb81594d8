"""Which rule for alpha comes nearest to the best one: a priori, discrepancy, learned."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equipoise.certify import source_element
from equipoise.status import Solution, Status
from equipoise.study.cases import Case
from equipoise.study.records import CaseRecord, Number, Panel, Role, Series
from equipoise.study.settings import StudySettings
from equipoise.study.slopes import geometric_mean
from equipoise.study.solving import only_solved, solve_case, worst_status
from equipoise.study.truths import draw_noise
from equipoise.vectors import norm

#: Noise relative to the clean data.
LEVELS = (1e-1, 3e-2, 1e-2, 3e-3)
#: Strengths that are tried, relative to the noise level: alpha = g level.
GRID = tuple(10.0 ** (0.4 * k) for k in range(-5, 5))
#: The discrepancy principle takes the alpha with ``||A x - y|| = TAU delta``.
TAU = 1.05
#: Relative residual that suffices to compare errors that differ by percents.
TOLERANCE = 1e-4
#: Where the a priori choice is sought.
SEARCHED = (1e-8, 1e4)
#: Halvings of the logarithm of alpha: the grid's range to within 2 %.
HALVINGS = 8

RULES = {
    "apriori": "a priori: α‖w‖ = δ",
    "discrepancy": f"discrepancy, τ = {TAU:g}",
    "learned": "learned on other images",
    "oracle": "oracle (needs the truth)",
}
#: What an alpha at the limit of its search means, by rule.
_ENDS = "limit of the strengths that were tried; a better one may lie beyond."
_LIMITS = {
    "apriori": f"limit of the search, {SEARCHED[0]:g} to {SEARCHED[1]:g}, and not where α‖w‖ = δ.",
    "discrepancy": f"nearer end of the range, of which no alpha gives the residual {TAU:g} δ.",
    "learned": _ENDS,
    "oracle": _ENDS,
}


@dataclass(frozen=True, eq=False)
class Batch:
    """Data of one noise level: truths, measurements, and the norm of the noise of each.

    Args:
        truth: shape (B, C, H, W).
        y: shape (B, ...).
        delta: shape (B,).
    """

    truth: Tensor
    y: Tensor
    delta: Tensor


@dataclass(frozen=True, eq=False)
class Choice:
    """What a rule chose and what came of it.

    Args:
        alpha: shape (B,).
        error: relative error, shape (B,); NaN where the solve did not converge.
        statuses: of the solves, B of them.
        at_limit: whether alpha sits at the limit of its search, boolean (B,): then no alpha inside
            is known to be what the rule asks for.
    """

    alpha: Tensor
    error: Tensor
    statuses: tuple[Status, ...]
    at_limit: Tensor


def run_case(case: Case, settings: StudySettings) -> CaseRecord:
    """Compare rules for alpha on images, level by level.

    A priori and learned alphas see the noise level and other images only; the discrepancy
    principle sees the noise level and the data; the oracle picks the best alpha of the grid for
    each image and draw.

    Args:
        case: physics, regulariser, images, and the images to learn from.
        settings: noise levels, draws, accuracy.
    """
    settings = settings.model_copy(update={"tolerance": max(TOLERANCE, settings.tolerance)})
    levels = sorted(settings.noise_levels or LEVELS, reverse=True)
    generator = torch.Generator().manual_seed(settings.seed + 2)
    chosen: dict[str, list[Choice]] = {name: [] for name in RULES}
    for level in levels:
        test = _batch(case, case.images.repeat_interleave(settings.repeats, 0), level, generator)
        other = _batch(case, case.learning, level, generator)
        grid = level * torch.tensor(GRID, dtype=torch.float64)
        curve = _along(case, test, grid, settings)
        fitted = _along(case, other, grid, settings)
        chosen["oracle"].append(_best_of_each(curve, grid))
        mean = torch.stack([c.error.square().mean() for c in fitted]).nan_to_num(math.inf)
        learned = curve[int(mean.argmin())]
        chosen["learned"].append(_marked(learned, _least(mean.unsqueeze(1))[2]))
        value, limited = a_priori(case, other)
        alpha, start = torch.full_like(test.delta, value), torch.zeros_like(test.truth)
        apriori = _judge(test, alpha, solve_case(case, test.y, alpha, settings, start))
        chosen["apriori"].append(_marked(apriori, torch.tensor([limited])))
        interval = float(grid[0]), float(grid[-1])
        chosen["discrepancy"].append(discrepancy(case, test, interval, settings))
    statuses = [s for rows in chosen.values() for choice in rows for s in choice.statuses]
    numbers = tuple(n for name in RULES if name != "oracle" for n in _numbers(name, chosen, levels))
    findings = _findings(case, numbers, chosen)
    return case.record(statuses, panels=_panels(levels, chosen), numbers=numbers, findings=findings)


def a_priori(case: Case, known: Batch) -> tuple[float, bool]:
    """The alpha at which the source element of other images shifts the data as far as the noise.

    Formula: alpha with ``alpha ||w_alpha|| = delta``, ``w_alpha = A (A^T A + alpha I)^{-1} R(x)``:
    the minimiser ``delta / ||w||`` of the Bregman bound of Thm 5, with the w that this alpha can
    see. The left side grows with alpha, so bisection finds it; geometric mean over the images.

    Args:
        case: physics and regulariser.
        known: images that are not those to be reconstructed, with the norm of their noise.

    Returns:
        The alpha, and whether that of an image sits at the limit of the search.
    """
    field = case.regularizer.field(known.truth)
    low = torch.full_like(known.delta, SEARCHED[0])
    high = torch.full_like(known.delta, SEARCHED[1])
    for _ in range(40):
        middle = (low * high).sqrt()
        shift = middle * source_element(case.physics, field, middle).w_norm
        low = torch.where(shift < known.delta, middle, low)
        high = torch.where(shift < known.delta, high, middle)
    limited = (low == SEARCHED[0]) | (high == SEARCHED[1])
    return float((low * high).sqrt().log().mean().exp()), bool(limited.any())


def discrepancy(
    case: Case, batch: Batch, interval: tuple[float, float], settings: StudySettings
) -> Choice:
    """Choose alpha with ``||A x_alpha - y|| = TAU delta`` by bisection of its logarithm.

    For monotone R the residual is continuous and does not fall as alpha grows (theory, Cor 3), so
    bisection is legitimate although there may be no functional.

    Args:
        case: physics and regulariser.
        batch: data with the norm of their noise.
        interval: where alpha is sought.
        settings: accuracy.

    Returns:
        The choice; samples without such an alpha in the interval get its nearer end and are marked.
    """
    low = torch.full_like(batch.delta, interval[0])
    high = torch.full_like(batch.delta, interval[1])
    start = torch.zeros_like(batch.truth)
    for _ in range(HALVINGS):
        middle = (low * high).sqrt()
        found = solve_case(case, batch.y, middle, settings, start)
        start = found.x
        over = norm(case.physics.A(found.x) - batch.y) > TAU * batch.delta
        high, low = torch.where(over, middle, high), torch.where(over, low, middle)
    alpha = (low * high).sqrt()
    choice = _judge(batch, alpha, solve_case(case, batch.y, alpha, settings, start))
    return _marked(choice, (low == interval[0]) | (high == interval[1]))


def _batch(case: Case, truth: Tensor, level: float, generator: torch.Generator) -> Batch:
    clean = case.physics.A(truth)
    delta = level * norm(clean)
    return Batch(truth, clean + draw_noise(case, clean, delta, generator), delta)


def _judge(batch: Batch, alpha: Tensor, found: Solution) -> Choice:
    error = only_solved(norm(found.x - batch.truth) / norm(batch.truth), found)
    inside = torch.zeros_like(found.converged)
    return Choice(alpha, error, tuple(found.statuses), inside)


def _marked(choice: Choice, at_limit: Tensor) -> Choice:
    return replace(choice, at_limit=at_limit.expand(len(choice.alpha)))


def _along(case: Case, batch: Batch, grid: Tensor, settings: StudySettings) -> list[Choice]:
    """Solve for every alpha, from the largest down, each from the last solution."""
    choices, start = [], torch.zeros_like(batch.truth)
    for alpha in grid.flip(0).tolist():
        found = solve_case(case, batch.y, alpha, settings, start)
        start = found.x
        choices.append(_judge(batch, torch.full_like(batch.delta, alpha), found))
    return choices[::-1]


def _best_of_each(curve: list[Choice], grid: Tensor) -> Choice:
    errors = torch.stack([choice.error for choice in curve]).nan_to_num(math.inf)
    error, index, at_limit = _least(errors)
    statuses = tuple(curve[int(i)].statuses[sample] for sample, i in enumerate(index))
    return Choice(grid[index], error.masked_fill(error.isinf(), math.nan), statuses, at_limit)


def _least(errors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The least error of each column, its row, and whether no larger one is known on both sides."""
    error, index = errors.min(0)
    padded = torch.nn.functional.pad(errors.mT, (1, 1), value=math.inf)
    sides = padded.gather(1, torch.stack([index, index + 2], 1))
    return error, index, sides.isinf().any(1) & error.isfinite()


def _panels(levels: list[float], chosen: dict[str, list[Choice]]) -> tuple[Panel, ...]:
    def panel(name: str, title: str, label: str) -> Panel:
        curves = []
        for rule, words in RULES.items():
            values = [c.error if name == "error" else c.alpha for c in chosen[rule]]
            means = [geometric_mean(value) for value in values]
            status = tuple(worst_status(c.statuses) for c in chosen[rule])
            curve = Series.of_means(rule, words, tuple(levels), means, status)
            limited = tuple(bool(c.at_limit.any()) for c in chosen[rule])
            role: Role = "reference" if rule == "oracle" else "measured"
            curves.append(replace(curve, role=role, limited=limited))
        return Panel(name, title, "relative noise δ / ‖y‖", label, tuple(curves))

    return (
        panel("error", "Error of each rule", "‖x − x†‖ / ‖x†‖"),
        panel("alpha", "What each rule chose", "α"),
    )


def _numbers(name: str, chosen: dict[str, list[Choice]], levels: list[float]) -> list[Number]:
    found = []
    for level, choice, best in zip(levels, chosen[name], chosen["oracle"], strict=True):
        ratio = geometric_mean(choice.error / best.error)
        found.append(
            Number(
                f"error_ratio_{name}_{level:g}",
                f"{RULES[name]}: error relative to the oracle's at noise {level:g}",
                ratio.value,
                low=ratio.low,
                high=ratio.high,
                status=worst_status((*choice.statuses, *best.statuses)),
                words=f"geometric mean of {ratio.draws} draws, 95 % t-interval",
            )
        )
    return found


def _findings(
    case: Case, numbers: tuple[Number, ...], chosen: dict[str, list[Choice]]
) -> tuple[str, ...]:
    lines = []
    for name, words in RULES.items():
        ratios = [n.value for n in numbers if n.name.startswith(f"error_ratio_{name}_")]
        known = [r for r in ratios if r is not None and math.isfinite(r)]
        if known:
            lines.append(
                f"{words}: error {min(known):.2f} to {max(known):.2f} times the oracle's over "
                "the noise levels."
            )
    if not case.regularizer.traits().monotone:
        lines.append(
            "R is not proved to be monotone: the residual need not grow with alpha, so bisection "
            "for the discrepancy principle is without ground here (theory, Cor 3)."
        )
    for name, words in RULES.items():
        limited = [bool(mark) for choice in chosen[name] for mark in choice.at_limit]
        if any(limited):
            lines.append(
                f"{words}: {sum(limited)} of {len(limited)} alphas sit at the {_LIMITS[name]}"
            )
    return tuple(lines)
