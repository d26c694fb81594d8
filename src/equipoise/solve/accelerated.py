"""Nesterov's accelerated gradient with restart and searched step, one evaluation a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.solve.fixed_point import first_step
from equipoise.solve.solver import Solver, TrialState, fresh_trials
from equipoise.solve.system import System
from equipoise.solve.trial import flat, inside
from equipoise.vectors import dot, expand, where

#: Factor by which the curvature estimate falls with an accepted step.
RELAX = 0.99
#: Least and greatest factor by which it grows with a rejected one; where there is no potential.
RAISE_LEAST, RAISE_MOST, RAISE_BLIND = 1.5, 20.0, 4.0
#: Rejected trial points in a row after which a sample is given up.
MAX_REJECTIONS = 40


@dataclass
class AcceleratedState(TrialState):
    """State of :class:`AcceleratedGradient`: ``x`` is the extrapolated point, ``anchor`` the last
    gradient step's end, ``curvature`` the estimate of the Lipschitz constant."""

    f: Tensor
    anchor: Tensor
    momentum: Tensor
    curvature: Tensor


@dataclass(frozen=True)
class AcceleratedGradient(Solver[AcceleratedState]):
    """Minimise the potential by Nesterov's method with restart (O'Donoghue and Candes 2015).

    ``z_k = y_k - E(y_k) / L``, ``y_{k+1} = z_k + b_k (z_k - z_{k-1})``. E is evaluated at the
    points ``y_k`` only. A trial point is refused where the quadratic model with L does not bound
    the potential there (then L grows) or where the potential rises (then the momentum restarts),
    so the potential falls also where it is not convex. Momentum restarts as well where
    ``<E(y_k), z_k - z_{k-1}> > 0``.
    """

    name: ClassVar[str] = "accelerated_gradient"
    needs_potential: ClassVar[bool] = True

    def start(self, system: System, x: Tensor) -> AcceleratedState:
        """Evaluate at x; the first step has no momentum."""
        f, e = system.potential_and_residual(x)
        return AcceleratedState(
            **fresh_trials(x, e),
            f=f,
            anchor=x,
            momentum=torch.ones_like(f),
            curvature=torch.full_like(f, 1.0 / first_step(system)),
        )

    def step(self, system: System, state: AcceleratedState) -> AcceleratedState:
        """Evaluate one trial point per sample; move there, shorten the step, or restart."""
        z = state.x - state.e / expand(state.curvature, state.e)
        momentum, push = _momentum(state, z)
        trial = z + expand(push, z) * (z - state.anchor)
        f, e = system.potential_and_residual(trial)
        legal = inside(system, trial, f)
        d = trial - state.x
        square, rise = dot(d, d), dot(state.e, d)
        level = flat(state.f, f)
        # Twice the gap to the tangent, or, within rounding, the change of slope: both are the
        # curvature along d times ||d||^2 for a quadratic.
        gap = torch.where(level, dot(e - state.e, d), 2.0 * (f - state.f - rise))
        bounded = gap <= state.curvature * square
        falls = (f <= state.f) | (level & (dot(e, d) <= 0))
        accept = legal & bounded & falls
        raised = (1.1 * gap / (square * state.curvature)).clamp(RAISE_LEAST, RAISE_MOST)
        raised = torch.where(legal & torch.isfinite(raised), raised, RAISE_BLIND)
        # A larger L shortens the gradient step only: a point that rises or leaves the domain loses
        # its momentum first.
        steep = (push == 0) | (legal & ~bounded)
        factor = torch.where(accept, RELAX, torch.where(steep, raised, 1.0))
        rejections = torch.where(accept, 0, state.rejections + 1)
        return AcceleratedState(
            x=where(accept, trial, state.x),
            e=where(accept, e, state.e),
            evaluations=state.evaluations + 1,
            failed=state.failed | (rejections > MAX_REJECTIONS),
            f=torch.where(accept, f, state.f),
            anchor=where(accept, z, state.anchor),
            momentum=torch.where(accept, momentum, torch.where(steep, state.momentum, 1.0)),
            curvature=state.curvature * factor,
            rejections=rejections,
        )


def _momentum(old: AcceleratedState, z: Tensor) -> tuple[Tensor, Tensor]:
    """The next momentum and the extrapolation, restarted where it points uphill."""
    uphill = dot(old.e, z - old.anchor) > 0
    current = torch.where(uphill, 1.0, old.momentum)
    following = 0.5 * (1.0 + torch.sqrt(1.0 + 4.0 * current.square()))
    return following, (current - 1.0) / following
