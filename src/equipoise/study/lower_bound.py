"""The error floor: what the part of R(x) that A cannot see costs at every alpha and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.certify import LowerBound, error_bound, error_floor, error_lower_bound
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.lower_bound import require_lipschitz
from equipoise.certify.rounding import allowance
from equipoise.equation import Equation
from equipoise.errors import HypothesisError
from equipoise.status import Status
from equipoise.study.cases import Case
from equipoise.study.records import CaseRecord, Number, Panel, Series
from equipoise.study.sensitivity import residual_norm
from equipoise.study.settings import StudySettings
from equipoise.study.solving import equation_of, solve_case, worst_status
from equipoise.study.truths import draw_noise
from equipoise.vectors import norm

#: Strengths, largest first, so that every solve starts at the solution for the next larger one.
ALPHAS = tuple(10.0 ** (1.0 - k / 2) for k in range(9))
#: Noise relative to the clean data; no noise is always added.
LEVELS = (0.1,)
#: Tolerance of the solves relative to the study's: bounds lose what the residuals allow, errors of
#: a few per cent need no more.
LOOSER = 10.0


@dataclass(frozen=True, eq=False)
class Sweep:
    """Errors over all alphas and the bounds below them; shapes are (alphas, levels, images).

    Errors and bounds are relative to the norm of the truth; the last noise level is 0.

    Args:
        alphas: strengths.
        levels: noise relative to the clean data.
        error: ``||x - z||`` of the computed x.
        radius: proved distance of the computed x to the exact equilibrium; infinite where there is
            none.
        floor: Thm 6(a) for the exact equilibria, shape (images,), or None where no L is known.
        floor_at: the same less what the residuals of the computed points allow.
        refined_at: Thm 6(b) and 6(c), the best, for the computed points; None likewise.
        refined_kind: their standing.
        why: how the floor was found, or why there is none.
        status: of the solves, codes.
    """

    alphas: tuple[float, ...]
    levels: tuple[float, ...]
    error: Tensor
    radius: Tensor
    floor: LowerBound | None
    floor_at: Tensor | None
    refined_at: Tensor | None
    refined_kind: Kind
    why: str
    status: Tensor

    def least(self, image: int) -> tuple[float, int, int]:
        """The least error of a converged solve of an image, and its alpha and level (indices)."""
        converged = self.status[..., image] == Status.CONVERGED
        errors = self.error[..., image].masked_fill(~converged, math.inf)
        place = int(errors.argmin())
        return float(errors.min()), place // len(self.levels), place % len(self.levels)


def run_case(case: Case, settings: StudySettings) -> CaseRecord:
    """Sweep alpha and the noise in one case and compare the errors with the floor.

    Args:
        case: physics, regulariser and images.
        settings: noise levels, accuracy.
    """
    sweep = sweep_case(case, settings)
    return case.record(
        [Status(code) for code in sweep.status.flatten().tolist()],
        panels=tuple(_panel(sweep, i, name) for i, name in enumerate(case.image_names)),
        numbers=tuple(
            number for i, name in enumerate(case.image_names) for number in _numbers(sweep, i, name)
        ),
        findings=_findings(case, sweep),
    )


def sweep_case(case: Case, settings: StudySettings, alphas: tuple[float, ...] = ALPHAS) -> Sweep:
    """Solve for every alpha, noise level and image.

    Bounds are for the points as computed: their residuals and all rounding are subtracted, so that
    a PROVED bound holds of the measured errors without slack (theory, Thm 6).

    Args:
        case: physics, regulariser and images.
        settings: noise levels (0 is added), seed, accuracy.
        alphas: strengths, largest first.
    """
    levels = (*sorted(settings.noise_levels or LEVELS, reverse=True), 0.0)
    truth = case.images.repeat(len(levels), 1, 1, 1)
    with torch.no_grad():
        clean = case.physics.A(truth)
    delta = torch.tensor(levels).double().repeat_interleave(len(case.images)) * norm(clean)
    generator = torch.Generator().manual_seed(settings.seed + 2)
    y = clean + draw_noise(case, clean, delta, generator)
    delta = norm(y - clean) + allowance(norm(clean), clean.dtype)
    why = _no_floor(equation_of(case, y, 1.0))
    start, kind = truth, Kind.PROVED
    accuracy = settings.model_copy(update={"tolerance": LOOSER * settings.tolerance})
    rows = []
    for alpha in alphas:
        found = solve_case(case, y, alpha, accuracy, start)
        start = found.x
        equation = equation_of(case, y, alpha)
        row = [norm(found.x - truth), _radius(equation, found.x)]
        if not why:
            e = residual_norm(equation, found.x)
            refined = error_lower_bound(equation, truth, delta, residual_norm=e)
            kind = kind if refined.kind is Kind.PROVED else Kind.ESTIMATED
            row += [error_floor(equation, truth, e).value, refined.value]
        rows.append((torch.stack(row) / norm(truth), found.status))
    shape = (len(alphas), len(levels), len(case.images))
    columns = torch.stack([values for values, _ in rows], 1).reshape(-1, *shape)
    floor = None
    if not why:
        with torch.no_grad():
            exact = equation_of(case, case.physics.A(case.images), 1.0)
        found_floor = error_floor(exact, case.images)
        floor = replace(found_floor, value=found_floor.value / norm(case.images))
        why = floor.why
    return Sweep(
        alphas=alphas,
        levels=levels,
        error=columns[0],
        radius=columns[1],
        floor=floor,
        floor_at=columns[2] if floor is not None else None,
        refined_at=columns[3] if floor is not None else None,
        refined_kind=kind,
        why=why,
        status=torch.stack([status for _, status in rows]).reshape(shape),
    )


def _no_floor(equation: Equation) -> str:
    """Why no lower bound is known; empty where one is."""
    try:
        require_lipschitz(Hypotheses(equation))
    except HypothesisError as error:
        return str(error)
    return ""


def _radius(equation: Equation, x: Tensor) -> Tensor:
    """The proved distance of x to the exact equilibrium, infinite where none is known."""
    try:
        return error_bound(equation, x)
    except HypothesisError:
        return torch.full((len(x),), math.inf, dtype=torch.float64)


def _panel(sweep: Sweep, image: int, name: str) -> Panel:
    curves = []
    for j, level in enumerate(sweep.levels):
        error = sweep.error[:, j, image]
        radius = sweep.radius[:, j, image]
        known = bool(torch.isfinite(radius).all())
        curves.append(
            Series(
                f"error_{level:g}",
                f"measured, {_noise(level)}",
                sweep.alphas,
                tuple(error.tolist()),
                low=tuple((error - radius).clamp_min(0.0).tolist()) if known else (),
                high=tuple((error + radius).tolist()) if known else (),
                status=tuple(Status(code).name for code in sweep.status[:, j, image].tolist()),
            )
        )
    bound = partial(Series, x=sweep.alphas, role="bound")
    if sweep.floor is not None and sweep.refined_at is not None:
        floor = (float(sweep.floor.value[image]),) * len(sweep.alphas)
        words = "floor for all alpha and noise, 6(a)"
        curves.append(bound("floor", words, y=floor, kind=sweep.floor.kind))
        for j in (-1, 0):
            level, refined = sweep.levels[j], sweep.refined_at[:, j, image]
            # A bound of 0 says nothing and has no place on a logarithmic axis.
            shown = tuple(torch.where(refined > 0, refined, math.nan).tolist())
            words = f"6(b), 6(c), {_noise(level)}"
            curves.append(bound(f"error_{level:g}_bound", words, y=shown, kind=sweep.refined_kind))
    return Panel(name, f"Error of {name}", "α", "‖x − x†‖ / ‖x†‖", tuple(curves))


def _noise(level: float) -> str:
    return f"noise {100 * level:g} %" if level else "no noise"


def _strength(sweep: Sweep, i: int) -> str:
    """An alpha of the sweep in words that say so where it is the first or the last."""
    end = {0: ", the largest tried", len(sweep.alphas) - 1: ", the smallest tried"}.get(i, "")
    return f"alpha = {sweep.alphas[i]:.3g}{end}"


def _numbers(sweep: Sweep, image: int, name: str) -> tuple[Number, ...]:
    least, i, j = sweep.least(image)
    at = f"At {_strength(sweep, i)}, with noise {100 * sweep.levels[j]:g} %."
    found, radius = math.isfinite(least), float(sweep.radius[i, j, image])
    sure = found and math.isfinite(radius)
    status = worst_status(Status(code) for code in sweep.status[..., image].flatten().tolist())
    floor = None if sweep.floor is None else float(sweep.floor.value[image])
    kind = Kind.ESTIMATED if sweep.floor is None else sweep.floor.kind
    refined = None if sweep.refined_at is None else float(sweep.refined_at[i, j, image])
    tight = least / floor if found and floor is not None and floor > 0 else None
    return (
        Number(
            f"{name}_least_error",
            f"{name}: least relative error over all alpha and noise",
            least if found else None,
            low=max(0.0, least - radius) if sure else None,
            high=least + radius if sure else None,
            theory=floor,
            status=status,
            words=at if found else "No solve converged.",
        ),
        Number(
            f"{name}_floor",
            f"{name}: floor for every alpha and noise, Thm 6(a)",
            floor,
            kind,
            words=sweep.why,
        ),
        Number(
            f"{name}_refined",
            f"{name}: bound at that alpha and noise, Thm 6(b), 6(c)",
            refined,
            sweep.refined_kind if refined is not None else Kind.ESTIMATED,
            words="" if refined is not None else sweep.why,
        ),
        Number(
            f"{name}_ratio",
            f"{name}: least error over floor",
            tight,
            theory=1.0 if floor is not None and floor > 0 else None,
            status=status,
            words="" if tight is not None else sweep.why,
        ),
    )


def _findings(case: Case, sweep: Sweep) -> tuple[str, ...]:
    if sweep.floor is None:
        return (f"No lower bound is known for this regulariser. {sweep.why}",)
    lines = []
    for image, name in enumerate(case.image_names):
        least, i, j = sweep.least(image)
        floor = float(sweep.floor.value[image])
        if not math.isfinite(least):
            lines.append(f"{name}: no solve converged.")
        elif floor > 0:
            lines.append(
                f"{name}: no alpha and no noise level gives a relative error below {floor:.3g} "
                f"({sweep.floor.kind}); the least one met is {least:.3g}, at "
                f"{_strength(sweep, i)}: {least / floor:.3g} times the floor."
            )
        else:
            assert sweep.refined_at is not None
            lines.append(
                f"{name}: the kernel of A sets no floor. The least relative error met is "
                f"{least:.3g}, where theory demands {float(sweep.refined_at[i, j, image]):.3g} "
                f"({sweep.refined_kind}), at {_strength(sweep, i)}."
            )
    if sweep.floor.kind is Kind.ESTIMATED and float(sweep.floor.value.max()) > 0:
        lines.append(
            f"The floor is ESTIMATED: {sweep.why}. The bounds of Thm 6(b) and 6(c) at a given "
            f"alpha are {sweep.refined_kind} and need no kernel."
        )
    return tuple(lines)
