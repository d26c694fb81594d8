"""Limited-memory BFGS for a batch, one evaluation a step, no synchronisation with the host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.solve.solver import Solver, State, fresh_counters
from equipoise.solve.system import Preconditionable, Preconditioner, System
from equipoise.solve.trial import flat, inside
from equipoise.vectors import dot, expand, norm, where

#: Armijo's constant and the share of the slope that the approximate Wolfe test allows.
SUFFICIENT, SLOPE = 1e-4, 0.8
#: Rejected trial points after which the memory is dropped, and after that the sample given up.
MAX_REJECTIONS = 16
#: Steps after which the preconditioner is made anew, and then whenever their number has doubled.
FIRST_REFRESHES = (1, 3)


@dataclass
class LBFGSState(State):
    """State of :class:`LBFGS`. ``s``, ``y`` are (B, memory, n); empty slots have ``rho = 0``."""

    f: Tensor
    direction: Tensor
    slope: Tensor
    step_size: Tensor
    rejections: Tensor
    steepest: Tensor
    s: Tensor
    y: Tensor
    rho: Tensor
    gamma: Tensor
    initial: Preconditioner | None
    slot: int


@dataclass(frozen=True)
class LBFGS(Solver):
    """Minimise the potential by limited-memory BFGS (Nocedal and Wright, algorithm 7.5).

    Each step evaluates one trial point per sample and accepts or rejects it there: by Armijo's
    test, or, where potentials differ by no more than rounding, by the slope (approximate Wolfe
    test, Hager and Zhang 2005), which survives the float32 floor.

    Where the system knows a preconditioner, that is the initial inverse Hessian of the recursion,
    made anew after 1, 3, 6, 12, 24, ... steps as the iterate moves.

    Args:
        memory: number of correction pairs, at least 1.
        preconditioned: whether to use the system's preconditioner, if any.

    Raises:
        UsageError: if the memory is smaller than 1.
    """

    name: ClassVar[str] = "lbfgs"
    needs_potential: ClassVar[bool] = True
    memory: int = 10
    preconditioned: bool = True

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise UsageError(f"memory must be at least 1, got {self.memory}.")

    def start(self, system: System, x: Tensor) -> LBFGSState:
        """Evaluate at x; the first direction is (preconditioned) steepest descent."""
        f, e = system.potential_and_residual(x)
        initial = self._initial(system, x)
        evaluations, failed = fresh_counters(x)
        batch, size = len(x), e[0].numel() if len(x) else 0
        pairs = torch.zeros(batch, self.memory, size, dtype=e.dtype, device=e.device)
        ones = torch.ones(batch, dtype=e.dtype, device=e.device)
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
            s=pairs,
            y=pairs.clone(),
            rho=torch.zeros(batch, self.memory, dtype=e.dtype, device=e.device),
            gamma=ones.clone(),
            initial=initial,
            slot=0,
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
        moved = self._remember(old, x - old.x, e_new - old.e)
        rejections = torch.where(accept, 0, old.rejections + 1)
        give_up = rejections > MAX_REJECTIONS
        restart = give_up & ~old.steepest
        rho = moved.rho.masked_fill(restart.unsqueeze(1), 0.0)
        initial = moved.initial
        if initial is not None and _due(moved.slot):
            initial = self._initial(system, x)
        direction = -two_loop(e_new, moved.s, moved.y, rho, moved.gamma, moved.slot, initial)
        slope = dot(direction, e_new)
        norms = norm(direction) * norm(e_new)
        uphill = ~(slope < -1e-10 * norms) | restart
        direction = where(uphill, -e_new, direction)
        slope = torch.where(uphill, -dot(e_new, e_new), slope)
        fresh = accept | restart
        shorter = old.step_size * _shrink(old, f)
        return replace(
            moved,
            x=x,
            e=e_new,
            f=f_new,
            rho=rho,
            initial=initial,
            evaluations=old.evaluations + 1,
            failed=old.failed | (give_up & old.steepest),
            direction=where(fresh, direction, old.direction),
            slope=torch.where(fresh, slope, old.slope),
            step_size=torch.where(fresh, _first_step(uphill, moved.gamma), shorter),
            rejections=torch.where(restart, 0, rejections),
            steepest=torch.where(fresh, uphill, old.steepest),
        )

    def describe(self, state: State) -> str:
        """``"lbfgs"``, with "preconditioned" where it is."""
        preconditioned = cast(LBFGSState, state).initial is not None
        return f"{self.name} (preconditioned)" if preconditioned else self.name

    def _initial(self, system: System, x: Tensor) -> Preconditioner | None:
        if self.preconditioned and isinstance(system, Preconditionable):
            return system.preconditioner(x)
        return None

    def _remember(self, old: LBFGSState, s: Tensor, y: Tensor) -> LBFGSState:
        """Write the newest pair into the ring; a pair without curvature leaves an empty slot."""
        s, y = s.flatten(1), y.flatten(1)
        curvature = dot(s, y)
        scaled = y if old.initial is None else old.initial(y.reshape(old.e.shape)).flatten(1)
        tiny = torch.finfo(s.dtype).eps
        good = curvature > tiny * norm(s) * norm(y)
        slot = old.slot % self.memory
        old.s[:, slot], old.y[:, slot] = s, y
        rho = old.rho.clone()
        rho[:, slot] = torch.where(good, 1.0 / curvature, 0.0)
        gamma = torch.where(good, curvature / dot(y, scaled), old.gamma)
        return replace(old, rho=rho, gamma=gamma, slot=old.slot + 1)


def two_loop(
    e: Tensor,
    s: Tensor,
    y: Tensor,
    rho: Tensor,
    gamma: Tensor,
    count: int,
    initial: Preconditioner | None = None,
) -> Tensor:
    """Apply the inverse Hessian approximation to ``e`` (two-loop recursion).

    Args:
        e: gradient, shape (B, ...).
        s: differences of iterates, shape (B, memory, n).
        y: differences of gradients, shape (B, memory, n).
        rho: ``1 / <s, y>``, zero for empty slots, shape (B, memory).
        gamma: scale of the initial inverse Hessian, shape (B,).
        initial: map that gamma scales, an approximation of the inverse Hessian; None: the identity.
        count: number of pairs written so far; the newest is in slot ``(count - 1) % memory``.
    """
    memory = s.shape[1]
    slots = [(count - 1 - i) % memory for i in range(min(count, memory))]
    q = e.flatten(1).clone()
    weights = []
    for k in slots:
        weights.append(rho[:, k] * dot(s[:, k], q))
        q.sub_(weights[-1].unsqueeze(1) * y[:, k])
    if initial is not None:
        q = initial(q.reshape(e.shape)).flatten(1)
    q.mul_(gamma.unsqueeze(1))
    for k, a in zip(reversed(slots), reversed(weights), strict=True):
        b = rho[:, k] * dot(y[:, k], q)
        q.add_((a - b).unsqueeze(1) * s[:, k])
    return q.reshape(e.shape)


def _due(steps: int) -> bool:
    """Whether to make the preconditioner anew; the same for all samples, whoever they run with."""
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
