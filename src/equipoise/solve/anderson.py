"""Anderson acceleration for a batch, safeguarded, for fields that need not be gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.checks import require_count
from equipoise.errors import UsageError
from equipoise.solve.fixed_point import first_step
from equipoise.solve.solver import Solver, TrialState, fresh_trials
from equipoise.solve.system import System
from equipoise.solve.trial import inside
from equipoise.vectors import expand, norm, where

#: Growth over the residual of the base point that an accelerated step may show.
GROWTH = 2.0
#: A plain step may change the residual by this share if it does not decrease it.
TURN = 0.9
#: Share by which a plain step should change the residual, and how fast the damping follows it.
SHARE, SLOWER, FASTER = 0.7, 0.7, 1.5
#: Evaluations within which acceleration must lower the residual by a tenth, and the length of the
#: first run of plain steps where it does not.
WINDOW, PROGRESS, FIRST_RUN = 40, 0.9, 8
#: Rejected plain steps in a row after which a sample is given up.
MAX_REJECTIONS = 40
#: Units of rounding by which the normalised normal equations are regularised.
RIDGE_UNITS = 20


@dataclass
class AndersonState(TrialState):
    """State of :class:`Anderson`.

    ``g`` is the (preconditioned) residual, ``size`` its norm; ``s`` and ``y`` are differences of x
    and of g over the norm of the latter, shape (B, memory, n), zero in empty slots; ``base_*``
    belong to the point that a failed acceleration returns to; ``record`` is the smallest size so
    far, ``milestone`` a size that counts as progress, ``waiting`` evaluations since the last one;
    ``run`` plain steps are left of a run, the next run has ``next_run``.
    """

    g: Tensor
    size: Tensor
    base_x: Tensor
    base_e: Tensor
    base_g: Tensor
    base_size: Tensor
    record: Tensor
    milestone: Tensor
    waiting: Tensor
    run: Tensor
    next_run: Tensor
    s: Tensor
    y: Tensor
    damping: Tensor
    slot: int
    inverse: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Anderson(Solver[AndersonState]):
    """Accelerate ``x <- x - b g(x)`` by Anderson's method (type II; Walker and Ni 2011).

    ``g(x) = (G + c I)^{-1} E(x)`` where the physics can be inverted exactly (the map is then
    ``P_c`` for b = 1), ``g = E`` otherwise. Of the affine combinations of the last iterates the
    one with the smallest linearised residual is taken, by regularised least squares per sample.
    The damping b follows the measured change of the residual.

    Where an accelerated step more than doubles the residual of the best point, the sample forgets
    its memory and goes on from there with a plain step, shortened until it decreases the residual
    or changes it by less than nine tenths, as short steps do for every Lipschitz E. Minimising a
    residual can get stuck where E is not monotone; so where acceleration makes no progress, runs
    of plain steps follow the flow ``x' = -g(x)``, each run twice as long as the last, and
    acceleration is tried again from where they end.

    Args:
        memory: number of earlier iterates, at least 1.

    Raises:
        UsageError: if the memory is not a whole number of at least 1.
    """

    name: ClassVar[str] = "anderson"
    memory: int = 10

    def __post_init__(self) -> None:
        require_count("memory", self.memory, error=UsageError)

    def start(self, system: System, x: Tensor) -> AndersonState:
        """Evaluate at x; the first step is plain."""
        found = system.resolvent()
        inverse = None if found is None else found[0]
        e = system.residual(x)
        g = e if inverse is None else inverse(e)
        size = norm(g)
        new = fresh_trials(x, e)
        pairs = torch.zeros(len(x), self.memory, x[0].numel(), dtype=g.dtype, device=g.device)
        first = first_step(system) if inverse is None else 1.0
        zero = torch.zeros_like(new["evaluations"])
        return AndersonState(
            **new,
            g=g,
            size=size,
            base_x=x,
            base_e=e,
            base_g=g,
            base_size=size,
            record=size,
            milestone=PROGRESS * size,
            waiting=zero,
            run=torch.ones_like(zero),
            next_run=torch.full_like(zero, FIRST_RUN),
            s=pairs,
            y=pairs.clone(),
            damping=torch.full_like(size, first),
            slot=0,
            inverse=inverse,
        )

    def step(self, system: System, state: AndersonState) -> AndersonState:
        """Evaluate one trial point per sample; move there or fall back to the base point."""
        plain = state.run > 0
        weights = mixing_weights(state.y, state.g.flatten(1)).masked_fill(plain.unsqueeze(1), 0.0)
        mixed = state.g - torch.bmm(weights.unsqueeze(1), state.y).reshape(state.g.shape)
        shift = torch.bmm(weights.unsqueeze(1), state.s).reshape(state.x.shape)
        trial = state.x - shift - expand(state.damping, mixed) * mixed
        e = system.residual(trial)
        g = e if state.inverse is None else state.inverse(e)
        size = norm(g)
        change = norm(g - mixed) / norm(mixed)
        good = torch.where(
            plain, (size <= state.size) | (change <= TURN), size <= GROWTH * state.base_size
        )
        accept = good & inside(system, trial, size)
        self._remember(state, accept, trial - state.x, g - state.g)

        progress = accept & (size <= state.milestone)
        waiting = torch.where(progress | plain, 0, state.waiting + 1)
        stuck = waiting > WINDOW
        move_base = accept & (plain | (size < state.record))
        base_x, base_e, base_g = (
            where(move_base, new, known)
            for new, known in ((trial, state.base_x), (e, state.base_e), (g, state.base_g))
        )
        base_size = torch.where(move_base, size, state.base_size)
        stay = accept & ~stuck
        # A rejected accelerated step is followed by one plain step, a stuck sample by a run.
        left = torch.where(plain, state.run - accept.long(), (~accept).long())
        rejections = torch.where(accept | ~plain, 0, state.rejections + 1)
        return replace(
            state,
            x=where(stay, trial, base_x),
            e=where(stay, e, base_e),
            evaluations=state.evaluations + 1,
            failed=state.failed | (rejections > MAX_REJECTIONS),
            g=where(stay, g, base_g),
            size=torch.where(stay, size, base_size),
            base_x=base_x,
            base_e=base_e,
            base_g=base_g,
            base_size=base_size,
            record=torch.where(accept, torch.minimum(state.record, size), state.record),
            milestone=torch.where(progress, PROGRESS * size, state.milestone),
            waiting=torch.where(stuck, 0, waiting),
            run=torch.where(stuck, state.next_run, left),
            next_run=torch.where(stuck, 2 * state.next_run, state.next_run),
            damping=_follow(state, plain, accept, change),
            rejections=rejections,
            slot=state.slot + 1,
        )

    def describe(self, state: AndersonState) -> str:
        """``"anderson"``, with "resolvent" where it accelerates that map."""
        return self.name if state.inverse is None else f"{self.name} (resolvent)"

    def _remember(self, old: AndersonState, accept: Tensor, s: Tensor, y: Tensor) -> None:
        """Write the newest pair into the ring, in place; forget all where the step was rejected."""
        s, y = s.flatten(1), y.flatten(1)
        length = norm(y)
        good = accept & (length > 0)
        slot = old.slot % self.memory
        scale = torch.where(good, length, 1.0)
        old.s[:, slot] = torch.where(good.unsqueeze(1), s / scale.unsqueeze(1), 0.0)
        old.y[:, slot] = torch.where(good.unsqueeze(1), y / scale.unsqueeze(1), 0.0)
        drop = ~accept.reshape(-1, 1, 1)
        old.s.masked_fill_(drop, 0.0)
        old.y.masked_fill_(drop, 0.0)


def mixing_weights(y: Tensor, g: Tensor) -> Tensor:
    """Minimise ``||g - sum_k w_k y_k||^2 + ridge ||w||^2`` for each sample.

    The normal equations of the normalised differences are solved in float64.

    Args:
        y: columns of norm 1 or 0, shape (B, memory, n).
        g: target, shape (B, n).

    Returns:
        Weights of shape (B, memory), zero for zero columns.
    """
    gram = torch.bmm(y, y.mT).double()
    right = torch.bmm(y, g.unsqueeze(2)).double()
    ridge = RIDGE_UNITS * torch.finfo(y.dtype).eps
    gram.diagonal(dim1=1, dim2=2).add_(ridge)
    solution, _ = torch.linalg.solve_ex(gram, right)  # the plain solve() would synchronise
    return solution.squeeze(2).to(y.dtype)


def _follow(old: AndersonState, plain: Tensor, accept: Tensor, change: Tensor) -> Tensor:
    """Damping for which a plain step changes the residual by about the wanted share."""
    wanted = torch.nan_to_num(SHARE / change, nan=SLOWER, posinf=FASTER)
    accepted = wanted.clamp(SLOWER, FASTER)
    shortened = torch.nan_to_num(1.0 / change, nan=0.1, posinf=0.5).clamp(0.02, 0.5)
    rejected = torch.where(plain, shortened, 1.0)
    return old.damping * torch.where(accept, accepted, rejected)
