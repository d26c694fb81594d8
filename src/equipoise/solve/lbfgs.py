"""Limited-memory BFGS for a batch, one evaluation a step, no synchronisation with the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.checks import require_count
from equipoise.errors import UsageError
from equipoise.solve.refreshing import InitialInverse
from equipoise.solve.secant import SecantPairs
from equipoise.solve.solver import Solver, TrialState, fresh_trials
from equipoise.solve.system import System
from equipoise.solve.trial import flat, inside
from equipoise.vectors import dot, expand, where

#: Armijo's constant.
SUFFICIENT = 1e-4
#: Share of the slope that the approximate Wolfe test allows.
SLOPE = 0.8
#: Rejected trial points after which the memory is dropped, and after that the sample given up.
MAX_REJECTIONS = 16


@dataclass
class LBFGSState(TrialState):
    """State of :class:`LBFGS`; ``initial`` is the inverse Hessian that the pairs correct."""

    f: Tensor
    direction: Tensor
    slope: Tensor
    step_size: Tensor
    steepest: Tensor
    pairs: SecantPairs
    initial: InitialInverse


@dataclass(frozen=True)
class LBFGS(Solver[LBFGSState]):
    """Minimise the potential by limited-memory BFGS (Nocedal and Wright, algorithm 7.5).

    Each step evaluates one trial point per sample and accepts or rejects it there: by Armijo's
    test, or, where potentials differ by no more than rounding, by the slope (approximate Wolfe
    test, Hager and Zhang 2005), which survives the float32 floor.

    Where the system knows a preconditioner, that is the initial inverse Hessian of the recursion,
    made anew as the iterate moves (:mod:`equipoise.solve.refreshing`). The first steps also tell
    how far it can be trusted; where it cannot, the recursion is left with a multiple of the
    identity.

    Args:
        memory: number of correction pairs, at least 1.
        preconditioned: whether to use the system's preconditioner, if any.
        warm: whether samples start at solutions of equations nearby.

    Raises:
        UsageError: if the memory is not a whole number of at least 1.
    """

    name: ClassVar[str] = "lbfgs"
    needs_potential: ClassVar[bool] = True
    memory: int = 10
    preconditioned: bool = True
    warm: bool = False

    def __post_init__(self) -> None:
        require_count("memory", self.memory, error=UsageError)

    def start(self, system: System, x: Tensor) -> LBFGSState:
        """Evaluate at x; the first direction is (preconditioned) steepest descent."""
        f, e = system.potential_and_residual(x)
        initial = InitialInverse.at(
            system, x, e, preconditioned=self.preconditioned, warm=self.warm
        )
        direction = -e if initial.P is None else -initial.P(e)
        return LBFGSState(
            **fresh_trials(x, e),
            f=f,
            direction=direction,
            slope=dot(direction, e),
            step_size=torch.ones_like(f),
            steepest=torch.ones(len(x), dtype=torch.bool, device=x.device),
            pairs=SecantPairs.empty(e, self.memory),
            initial=initial,
        )

    def step(self, system: System, state: LBFGSState) -> LBFGSState:
        """Evaluate one trial point per sample; move there or shorten the step."""
        trial = state.x + expand(state.step_size, state.x) * state.direction
        f, e = system.potential_and_residual(trial)
        f = torch.where(inside(system, trial, f), f, torch.inf)
        accept = _acceptable(state, f, dot(e, state.direction))
        x, f_new = where(accept, trial, state.x), torch.where(accept, f, state.f)
        e_new = where(accept, e, state.e)
        change = e_new - state.e
        pairs, curvature = state.pairs.push(x - state.x, change)
        rejections = torch.where(accept, 0, state.rejections + 1)
        give_up = rejections > MAX_REJECTIONS
        restart = give_up & ~state.steepest
        pairs = pairs.forget(restart)
        initial = state.initial.scaled(change, curvature).refreshed(system, x, pairs)
        direction = pairs.inverse_product(e_new, initial.gamma, initial.P).neg_()
        slope = dot(direction, e_new)
        uphill = ~(slope < 0) | restart
        fresh = accept | restart
        direction = where(uphill, -e_new, direction)
        slope = torch.where(uphill, -dot(e_new, e_new), slope)
        shorter = state.step_size * _shrink(state, f)
        return LBFGSState(
            x=x,
            e=e_new,
            evaluations=state.evaluations + 1,
            failed=state.failed | (give_up & state.steepest),
            f=f_new,
            direction=where(fresh, direction, state.direction),
            slope=torch.where(fresh, slope, state.slope),
            step_size=torch.where(fresh, _first_step(uphill, initial.gamma), shorter),
            rejections=torch.where(restart, 0, rejections),
            steepest=torch.where(fresh, uphill, state.steepest),
            pairs=pairs,
            initial=initial,
        )

    def describe(self, state: LBFGSState) -> str:
        """``"lbfgs"``, with "preconditioned" where it is."""
        return self.name if state.initial.plain else f"{self.name} (preconditioned)"


def _acceptable(old: LBFGSState, f: Tensor, slope: Tensor) -> Tensor:
    armijo = f <= old.f + SUFFICIENT * old.step_size * old.slope
    return armijo | (flat(old.f, f) & (slope <= -SLOPE * old.slope))


def _shrink(old: LBFGSState, f: Tensor) -> Tensor:
    """Minimiser of the parabola through f(0), f'(0) and f(t), kept within [0.02, 0.5] t."""
    rise = f - old.f - old.step_size * old.slope
    factor = -0.5 * old.step_size * old.slope / rise
    factor = torch.where(torch.isfinite(factor), factor, 0.1)
    return factor.clamp(0.02, 0.5)


def _first_step(uphill: Tensor, gamma: Tensor) -> Tensor:
    """1 for quasi-Newton directions, the last curvature scale for steepest descent."""
    return torch.where(uphill, gamma, torch.ones_like(gamma))
