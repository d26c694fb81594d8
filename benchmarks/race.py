"""Trainings with other gradients from the same start: PSNR over time, direction of the gradient."""

from __future__ import annotations

import copy
import itertools
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.replay import cosine, exact_gradient_of, gradient, new_regularizer, pose
from equipoise.differentiate import jacobian_norm, unroll
from equipoise.equation import Equation
from equipoise.learn import (
    Progress,
    TrainSettings,
    Validation,
    fill_bank,
    make_validation,
    psnr,
    train,
)
from equipoise.learn.calibrate import calibrate
from equipoise.learn.schedules import minibatch, turns_at
from equipoise.problems import DataSplit
from equipoise.regularizers.base import Regularizer
from equipoise.vectors import expand

WARM, COLD = "exact, warm starts", "exact, cold"
UNROLLED = "unrolled, 10 gradient steps"
#: Label -> settings that differ.
METHODS: dict[str, dict[str, Any]] = {
    WARM: {"mode": "bilevel"},
    COLD: {"mode": "bilevel", "warm_start": False},
    "exact, warm starts, turned at every visit": {"mode": "bilevel", "augment": True},
    "10 products (cg:10), warm starts": {"mode": "bilevel", "adjoint": "cg:10"},
    "Jacobian-free, warm starts": {"mode": "jacobian-free"},
    UNROLLED: {"mode": "unrolled", "unrolled_steps": 10},
}


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        seconds: of training at each validation.
        psnr: in dB at each validation, of what the method reconstructs.
        equilibrium_psnr: in dB in the end, of the solutions of the equation.
        converged: share of the validation photographs that were solved in the end.
        cosines: with the exact hypergradient, at some steps.
        step_seconds: median over steps.
    """

    seconds: list[float]
    psnr: list[float]
    equilibrium_psnr: float
    converged: float
    cosines: list[float]
    step_seconds: float

    def time_to(self, target: float) -> float | None:
        """Seconds until a validation first reached so many dB, or None."""
        reached = (t for t, value in zip(self.seconds, self.psnr, strict=True) if value >= target)
        return next(reached, None)


def run(
    label: str, data: DataSplit, usual: TrainSettings, crop: int, compare_every: int | None
) -> Run:
    """Train by one method.

    Args:
        label: one of ``METHODS``.
        data: photographs.
        usual: settings of all methods, with the seed.
        crop: side of the validation crops.
        compare_every: steps between two comparisons with the exact hypergradient; None: never.
    """
    settings = usual.model_copy(update=METHODS[label])
    regularizer, problem = new_regularizer(settings.seed), pose(settings.patch_size)
    bank = fill_bank(
        problem, data.train, count=settings.patches, size=settings.patch_size, seed=settings.seed
    )
    calibrate(regularizer, bank)
    solved = make_validation(problem, data.val, size=crop, seed=settings.seed + 1, tolerance=1e-4)
    validation = solved
    if label == UNROLLED:
        validation = OwnSteps(**vars(solved))
        validation.steps = settings.unrolled_steps
    before: list[dict[str, Tensor]] = [copy.deepcopy(regularizer.state_dict())]
    cosines: list[float] = []

    def watch(progress: Progress) -> None:
        if compare_every and progress.step % compare_every == 0:
            # The gradient of this step is still there; the weights have moved on.
            used = copy.deepcopy(regularizer)
            used.load_state_dict(before[0])
            rows = minibatch(progress.step - 1, len(bank), settings.batch_size, settings.seed)
            turns = None
            if settings.augment:
                choices = len(bank.symmetries)
                turns = turns_at(progress.step - 1, len(rows), choices, settings.seed)
            exact = exact_gradient_of(used, bank.visit(rows, turns), bank.problem, settings)
            cosines.append(cosine(gradient(regularizer), exact))
        before[0] = copy.deepcopy(regularizer.state_dict())

    log = train(regularizer, bank, validation, settings, on_progress=watch).log
    clock = [0.0, *log.seconds]
    steps = [after - begin for begin, after in itertools.pairwise(clock)]
    equilibrium, converged = solved.measure(regularizer)
    return Run(
        [clock[step] for step in log.validation_step],
        log.validation_psnr,
        equilibrium,
        converged,
        cosines,
        statistics.median(steps),
    )


class OwnSteps(Validation):
    """Judges weights by the image after as many gradient steps as training unrolls."""

    steps: int

    def measure(self, regularizer: Regularizer) -> tuple[float, float]:
        """Mean PSNR in dB; nothing is solved that could fail to converge."""
        equation = Equation(self.problem.physics, self.y, regularizer)
        start = self.problem.start(self.y)
        size = jacobian_norm(equation.linearize(start).vjp, start)
        with torch.no_grad():
            x = unroll(equation, start, self.steps, expand(1.0 / size, start))
        return float(psnr(x, self.truth).mean()), 1.0
