"""Limited-memory BFGS for a batch, one evaluation a step, no synchronisation with the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from equipoise.checks import require_count
from equipoise.convolutions.circulant import FLOOR, SETTLED_FLOOR
from equipoise.errors import UsageError
from equipoise.solve.secant import SecantPairs
from equipoise.solve.solver import Solver, State, fresh_counters
from equipoise.solve.system import Preconditionable, Preconditioner, System
from equipoise.solve.trial import flat, inside
from equipoise.vectors import dot, expand, where

#: Armijo's constant and the share of the slope that the approximate Wolfe test allows.
SUFFICIENT, SLOPE = 1e-4, 0.8
#: Rejected trial points after which the memory is dropped, and after that the sample given up.
MAX_REJECTIONS = 16
#: Steps after which the preconditioner is made anew, and then whenever their number has doubled.
FIRST_REFRESHES = (1, 3)
#: Rebuilds at which the preconditioner is fitted to the latest so many steps: then it may turn
#: into a multiple of the identity, where it is of no use. One step of an image of so many numbers
#: tells as much.
ADAPTED, STEPS, LARGE = (3, 6), 3, 2**18
#: Where a warm start has a residual below this share of the scale, the first preconditioner is as
#: good as those of the first steps, which are made anew no earlier than here.
NEAR, NEAR_REFRESH = 0.1, 24


@dataclass
class LBFGSState(State):
    """State of :class:`LBFGS`; ``gamma`` scales the initial inverse Hessian."""

    f: Tensor
    direction: Tensor
    slope: Tensor
    step_size: Tensor
    rejections: Tensor
    steepest: Tensor
    gamma: Tensor
    pairs: SecantPairs
    initial: Preconditioner | None
    near: bool


@dataclass(frozen=True)
class LBFGS(Solver):
    """Minimise the potential by limited-memory BFGS (Nocedal and Wright, algorithm 7.5).

    Each step evaluates one trial point per sample and accepts or rejects it there: by Armijo's
    test, or, where potentials differ by no more than rounding, by the slope (approximate Wolfe
    test, Hager and Zhang 2005), which survives the float32 floor.

    Where the system knows a preconditioner, that is the initial inverse Hessian of the recursion,
    made anew after 1, 3, 6, 12, 24, ... steps as the iterate moves (24, 48, ... from warm starts
    near the solutions). The first steps also tell how far it can be trusted (``LocalInverse.
    adapted``); where it cannot, the recursion is left with a multiple of the identity.

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
        near = self.warm and bool((system.gauge.size(e) <= NEAR * system.gauge.scale).all())
        initial = self._initial(system, x, SETTLED_FLOOR if near else FLOOR)
        evaluations, failed = fresh_counters(x)
        ones = torch.ones_like(f)
        direction = -e if initial is None else -initial(e)
        return LBFGSState(
            x=x,
            e=e,
            evaluations=evaluations,
            failed=failed,
            f=f,
            direction=direction,
            slope=dot(direction, e),
            step_size=ones,
            rejections=torch.zeros_like(evaluations),
            steepest=torch.ones_like(failed),
            gamma=ones,
            pairs=SecantPairs.empty(e, self.memory),
            initial=initial,
            near=near,
        )

    def step(self, system: System, state: State) -> LBFGSState:
        """Evaluate one trial point per sample; move there or shorten the step."""
        old = cast(LBFGSState, state)
        trial = old.x + expand(old.step_size, old.x) * old.direction
        f, e = system.potential_and_residual(trial)
        f = torch.where(inside(system, trial, f), f, torch.inf)
        accept = _acceptable(old, f, dot(e, old.direction))
        x, f_new = where(accept, trial, old.x), torch.where(accept, f, old.f)
        e_new = where(accept, e, old.e)
        pairs, gamma = _remember(old, x - old.x, e_new - old.e)
        rejections = torch.where(accept, 0, old.rejections + 1)
        give_up = rejections > MAX_REJECTIONS
        restart = give_up & ~old.steepest
        pairs = pairs.forget(restart)
        initial = old.initial
        if initial is not None and _due(pairs.count, old.near):
            initial = self._initial(system, x, initial.floor)
            if initial is not None and pairs.count in ADAPTED:
                steps = STEPS if x[0].numel() < LARGE else 1
                initial = initial.adapted(*pairs.latest(steps, x.shape[1:]))
        direction = pairs.inverse_product(e_new, gamma, initial).neg_()
        slope = dot(direction, e_new)
        uphill = ~(slope < 0) | restart
        fresh = accept | restart
        direction = where(uphill, -e_new, direction)
        slope = torch.where(uphill, -dot(e_new, e_new), slope)
        shorter = old.step_size * _shrink(old, f)
        return LBFGSState(
            x=x,
            e=e_new,
            evaluations=old.evaluations + 1,
            failed=old.failed | (give_up & old.steepest),
            f=f_new,
            direction=where(fresh, direction, old.direction),
            slope=torch.where(fresh, slope, old.slope),
            step_size=torch.where(fresh, _first_step(uphill, gamma), shorter),
            rejections=torch.where(restart, 0, rejections),
            steepest=torch.where(fresh, uphill, old.steepest),
            gamma=gamma,
            pairs=pairs,
            initial=initial,
            near=old.near,
        )

    def describe(self, state: State) -> str:
        """``"lbfgs"``, with "preconditioned" where it is."""
        initial = cast(LBFGSState, state).initial
        plain = initial is None or bool(torch.isfinite(initial.factor).all())
        return self.name if plain else f"{self.name} (preconditioned)"

    def _initial(self, system: System, x: Tensor, floor: float | Tensor) -> Preconditioner | None:
        if self.preconditioned and isinstance(system, Preconditionable):
            return system.preconditioner(x, floor)
        return None


def _remember(old: LBFGSState, s: Tensor, y: Tensor) -> tuple[SecantPairs, Tensor]:
    """Store the newest pair; scale the initial inverse Hessian P by ``<s, y> / <y, P y>``.

    A preconditioner has nearly the right scale, so one pair after it was made is enough, unless
    it is a multiple of the identity.
    """
    new = old.pairs.count == 0 or _due(old.pairs.count, old.near)
    pairs, curvature = old.pairs.push(s, y)
    if old.initial is not None and not new:
        factor = old.initial.factor
        gamma = curvature / (factor * dot(y, y))
        return pairs, torch.where((curvature > 0) & torch.isfinite(factor), gamma, old.gamma)
    image = y if old.initial is None else old.initial(y)
    return pairs, torch.where(curvature > 0, curvature / dot(y, image), old.gamma)


def _due(steps: int, near: bool) -> bool:
    """Whether to make the preconditioner anew."""
    if near and steps < NEAR_REFRESH:
        return False
    first = FIRST_REFRESHES[-1]
    later = steps > first and steps % first == 0 and (steps // first).bit_count() == 1
    return steps in FIRST_REFRESHES or later


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
