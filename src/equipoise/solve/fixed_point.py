"""The gradient step ``x <- x - tau E(x)`` with a given, a certified or a searched step size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.checks import require_positive
from equipoise.errors import UsageError
from equipoise.solve.solver import Solver, TrialState, fresh_trials
from equipoise.solve.system import System
from equipoise.solve.trial import flat, inside
from equipoise.vectors import dot, expand, norm, where

#: Share of the predicted decrease of the potential that a searched step must achieve.
SUFFICIENT = 0.25
#: Share of cocoercivity that a searched step must keep where there is no potential.
COCOERCIVE = 1.9
#: A step is doubled while E changes by less than this share, else it grows by a tenth.
TIMID, DOUBLE, CAUTIOUS = 0.25, 2.0, 1.1
#: Rejected trial points in a row after which a sample is given up.
MAX_REJECTIONS = 40


@dataclass
class FixedPointState(TrialState):
    """State of :class:`FixedPoint`; ``f`` is the potential (zero where it is not used)."""

    f: Tensor
    step_size: Tensor
    searched: bool


@dataclass(frozen=True)
class FixedPoint(Solver[FixedPointState]):
    """Iterate ``x <- x - tau E(x)``, one evaluation a step.

    Where both the modulus m and the Lipschitz constant L of E are proved, the step is certified
    (theory, section 2): ``2 / (m + L)`` under the disc hypothesis, ``m / L^2`` otherwise. Where
    they are not, each sample searches its step: for gradient fields by Armijo's test on the
    potential; for other fields the residual must fall, which for ``d = -tau E(x)`` is the
    cocoercivity test ``tau ||dE||^2 < 2 <dE, d>`` and holds for small steps if E is strongly
    monotone.

    Args:
        step_size: a positive number to use a fixed step, which is then neither searched nor
            safeguarded; None for a certified or searched step.

    Raises:
        UsageError: if the step size is not a positive finite number.
    """

    name: ClassVar[str] = "fixed_point"
    step_size: float | None = None

    def __post_init__(self) -> None:
        if self.step_size is not None:
            require_positive("step_size", self.step_size, UsageError)

    def start(self, system: System, x: Tensor) -> FixedPointState:
        """Evaluate at x and decide how the step size is found."""
        given = self.step_size if self.step_size is not None else certified_step(system)
        searched = given is None
        f, e = _evaluate(system, x, searched)
        first = first_step(system) if given is None else given
        return FixedPointState(
            **fresh_trials(x, e), f=f, step_size=torch.full_like(f, first), searched=searched
        )

    def step(self, system: System, state: FixedPointState) -> FixedPointState:
        """Take the step; a searched one is taken back where it was too long."""
        trial = state.x - expand(state.step_size, state.x) * state.e
        f, e = _evaluate(system, trial, state.searched)
        if not state.searched:
            return replace(state, x=trial, e=e, evaluations=state.evaluations + 1)
        change = e - state.e
        bend, size = -dot(change, state.e), norm(change)
        cocoercive = size.square() <= COCOERCIVE * bend
        good = _descends(state, f, e) if system.gradient_field else cocoercive
        accept = good & torch.isfinite(size) & inside(system, trial, f)
        grow = torch.where(size <= TIMID * norm(state.e), DOUBLE, CAUTIOUS)
        # The step that minimises ||e + t change||, relative to the one that was too long.
        shrink = torch.nan_to_num(bend / size.square(), nan=0.1, posinf=0.1).clamp(0.1, 0.5)
        rejections = torch.where(accept, 0, state.rejections + 1)
        return replace(
            state,
            x=where(accept, trial, state.x),
            e=where(accept, e, state.e),
            evaluations=state.evaluations + 1,
            failed=state.failed | (rejections > MAX_REJECTIONS),
            f=torch.where(accept, f, state.f),
            step_size=state.step_size * torch.where(accept, grow, shrink),
            rejections=rejections,
        )


def certified_step(system: System) -> float | None:
    """The best step for which ``x - tau E(x)`` is proved to converge, or None.

    Formula: ``2 / (m + L)`` (``1 / L`` for m = 0) under the disc hypothesis, ``m / L^2`` otherwise;
    both constants must be proved (theory, section 2).
    """
    low, high = system.modulus, system.lipschitz
    if low is None or high is None or not (low.proved and high.proved):
        return None
    m, bound = low.value, high.value
    if not 0 < bound < math.inf or m < 0:
        return None
    if system.disc:
        return 2.0 / (m + bound) if m > 0 else 1.0 / bound
    return m / bound**2 if m > 0 else None


def first_step(system: System) -> float:
    """Where the search for a step size starts: ``1 / L`` for whatever L is known, else 1."""
    bound = system.lipschitz
    if bound is None or not 0 < bound.value < math.inf:
        return 1.0
    return 1.0 / bound.value


def _evaluate(system: System, x: Tensor, searched: bool) -> tuple[Tensor, Tensor]:
    if searched and system.gradient_field:
        return system.potential_and_residual(x)
    e = system.residual(x)
    return torch.zeros(len(e), dtype=e.dtype, device=e.device), e


def _descends(old: FixedPointState, f: Tensor, e: Tensor) -> Tensor:
    """Armijo's test, or the slope at the trial point where potentials differ by rounding only."""
    slope = dot(old.e, old.e)
    armijo = f <= old.f - SUFFICIENT * old.step_size * slope
    return armijo | (flat(old.f, f) & (-dot(e, old.e) <= (1.0 - 2.0 * SUFFICIENT) * slope))
