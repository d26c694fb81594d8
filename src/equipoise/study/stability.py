"""Worst-case stability: what attacks on the data reach, beside the certified constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.bounds import Bound, Kind
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.stability import bregman_constant, data_constant, norm_constant
from equipoise.status import Status
from equipoise.study.attack import Attack, Quantity, attack
from equipoise.study.cases import Case
from equipoise.study.records import CaseRecord, Number, Panel, Picture, Series
from equipoise.study.settings import StudySettings
from equipoise.study.solving import equation_of, solver_for, worst_status
from equipoise.vectors import expand, norm

#: Strength of the regularisation.
ALPHA = 0.1
#: Radius of the ball of perturbations relative to the norm of the data, where none is given.
RADIUS = 0.1
#: Ascent steps.
STEPS = 10
#: Tolerance of the solves relative to the study's, where residuals are to be subtracted.
SHARPER = 1e-3
#: Share of the constant below which the figure needs a logarithmic axis to show both.
SMALL = 0.05

#: Quantity -> title, and the formula on the axis.
QUANTITIES: dict[Quantity, tuple[str, str]] = {
    "norm": ("Change of the image", "‖x₁ − x₂‖ / ‖y₁ − y₂‖"),
    "data": ("Change of the data of the image", "‖A(x₁ − x₂)‖ / ‖y₁ − y₂‖"),
    "bregman": ("Symmetric Bregman distance", "α⟨R(x₁) − R(x₂), x₁ − x₂⟩ / ‖y₁ − y₂‖²"),
}
_STARTS = {"singular": "from top singular directions", "random": "from random directions"}


@dataclass(frozen=True, eq=False)
class Outcome:
    """One attack beside the constant that it cannot exceed.

    Args:
        attack: what was reached.
        bound: the certified constant, or None.
        why: why there is none.
    """

    attack: Attack
    bound: Bound | None
    why: str

    @property
    def share(self) -> float | None:
        """Reached over certified."""
        if self.bound is None or not self.bound.value > 0:
            return None
        return float(self.attack.reached[self.attack.best]) / self.bound.value


def run_case(case: Case, settings: StudySettings) -> CaseRecord:
    """Attack the reconstruction of one image in one case.

    Args:
        case: physics, regulariser and images; the first image is taken, with clean data.
        settings: radius (the first noise level), restarts, accuracy.
    """
    outcomes = attack_case(case, settings)
    statuses = [Status(code) for o in outcomes for code in o.attack.status.tolist()]
    return case.record(
        statuses,
        panels=tuple(_panel(outcome) for outcome in outcomes),
        numbers=tuple(n for outcome in outcomes for n in _numbers(outcome)),
        findings=_findings(outcomes),
        pictures=_pictures(case, outcomes[0].attack),
    )


def attack_case(case: Case, settings: StudySettings) -> list[Outcome]:
    """Attack all quantities; for fields that are not monotone the norm alone, without a bound.

    The other quantities start where the attack on the norm ended, and at random.
    """
    truth = case.images[:1]
    with torch.no_grad():
        y = case.physics.A(truth)
    equation = equation_of(case, y, ALPHA)
    known = Hypotheses(equation)
    level = RADIUS if settings.noise_levels is None else max(settings.noise_levels)
    outcomes: list[Outcome] = []
    given: Tensor | None = None
    for quantity in QUANTITIES:
        if quantity != "norm" and not known.monotone:
            continue
        bound = _constant(known, quantity)
        found = attack(
            equation,
            truth,
            level * float(norm(y)),
            quantity=quantity,
            restarts=(2 if quantity == "norm" else 1) * settings.repeats,
            steps=STEPS,
            given=given,
            seed=settings.seed,
            tolerance=settings.tolerance * (1.0 if bound is None else SHARPER),
            max_evaluations=settings.max_evaluations,
            solver=solver_for(equation),
        )
        given = found.perturbation[found.best : found.best + 1]
        why = "" if bound is not None else " ".join(known.failing)
        outcomes.append(Outcome(found, bound, why))
    return outcomes


def _constant(known: Hypotheses, quantity: Quantity) -> Bound | None:
    if quantity == "norm":
        return norm_constant(known)
    return data_constant(known) if quantity == "data" else bregman_constant(known)


def _panel(outcome: Outcome) -> Panel:
    """The best ratio so far against the steps: best and worst restart of each kind of start."""
    found = outcome.attack
    title, formula = QUANTITIES[found.quantity]
    steps = tuple(float(k) for k in range(len(found.history)))
    curves = []
    for start, label in _STARTS.items():
        mine = torch.tensor([name == start for name in found.starts])
        if not bool(mine.any()):
            continue
        rows = found.history[:, mine].clamp_min(0.0)
        best = tuple(rows.max(1).values.tolist())
        worst = tuple(rows.min(1).values.tolist())
        curves.append(Series(start, label, steps, best, low=worst, high=best))
    if (bound := outcome.bound) is not None:
        value, words = (bound.value,) * len(steps), "certified constant"
        curves.append(Series("bound", words, steps, value, role="bound", kind=bound.kind))
    vacuous = outcome.share is not None and outcome.share < SMALL
    return Panel(
        found.quantity, title, "ascent steps", formula, tuple(curves), log_x=False, log_y=vacuous
    )


def _numbers(outcome: Outcome) -> tuple[Number, ...]:
    found, bound = outcome.attack, outcome.bound
    title = QUANTITIES[found.quantity][0]
    status = worst_status(Status(code) for code in found.status.tolist())
    constant = None if bound is None else bound.value
    reached = Number(
        f"{found.quantity}_reached",
        f"{title}: largest ratio reached",
        float(found.reached[found.best]),
        Kind.PROVED if found.proved else Kind.ESTIMATED,
        theory=constant,
        status=status,
        words=_reached_words(found),
    )
    certified = Number(
        f"{found.quantity}_constant",
        f"{title}: certified constant",
        constant,
        Kind.ESTIMATED if bound is None else bound.kind,
        words=outcome.why,
    )
    share = Number(
        f"{found.quantity}_share",
        f"{title}: reached over certified",
        outcome.share,
        Kind.ESTIMATED,
        theory=1.0 if bound is not None else None,
        status=status,
        words=outcome.why,
    )
    return reached, certified, share


def _reached_words(found: Attack) -> str:
    measured = float(found.measured[found.best])
    if not found.proved:
        return "As measured: no bound on the error of the solves is known."
    return (
        f"Measured {measured:.6g}, less what the residuals of the two solves can account for: "
        "a constant below it would be wrong."
    )


def _findings(outcomes: list[Outcome]) -> tuple[str, ...]:
    lines = []
    for outcome in outcomes:
        found, bound = outcome.attack, outcome.bound
        formula = QUANTITIES[found.quantity][1]
        reached = float(found.reached[found.best])
        restarts = f"{len(found.starts)} restarts"
        if bound is None:
            lines.append(
                f"{formula}: {reached:.4g} reached by {restarts}; no constant is certified. "
                f"{outcome.why}"
            )
        elif outcome.share is not None:
            lines.append(
                f"{formula}: {reached:.4g} reached by {restarts}, {bound.kind} constant "
                f"{bound.value:.4g}; {100 * outcome.share:.3g} % of it."
            )
    return tuple(lines)


def _pictures(case: Case, found: Attack) -> tuple[Picture, ...]:
    """Reconstruction, worst perturbation seen in the image, reconstruction from perturbed data,
    and what changed; perturbation and change on one scale around zero."""
    k = found.best
    dy = found.perturbation[k : k + 1]
    with torch.no_grad():
        seen = case.physics.A_adjoint(dy)
    seen = seen * expand(found.radius[k : k + 1] / norm(seen), seen)
    changed = found.reconstruction[k : k + 1] - found.base
    limit = float(torch.maximum(seen.abs().max(), changed.abs().max())) or 1.0
    square = dy.shape == seen.shape
    named = "perturbation of the data" if square else "perturbation, Aᵀ of it"
    perturbed = found.reconstruction[k : k + 1]
    return (
        Picture("reconstruction", _gray(found.base)),
        Picture(named, _gray(dy if square else seen), -limit, limit),
        Picture("from perturbed data", _gray(perturbed)),
        Picture("change", _gray(changed), -limit, limit),
    )


def _gray(image: Tensor) -> NDArray[np.floating]:
    return image[0].mean(0).numpy()
