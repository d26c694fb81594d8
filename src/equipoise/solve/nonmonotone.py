"""The nonmonotone accelerated gradient method of Li and Lin, for smooth potentials."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.solve.fixed_point import first_step
from equipoise.solve.solver import Solver, TrialState, fresh_trials
from equipoise.solve.system import System
from equipoise.solve.trial import ROUNDING_UNITS, inside
from equipoise.vectors import dot, expand, where

#: What the next evaluation of a sample is for: the extrapolated point, its gradient step, or the
#: gradient step of the current iterate.
EXTRAPOLATE, ACCELERATED, MONITOR = 0, 1, 2
#: The paper's eta (weight of old potentials), delta (sufficient decrease), and the factor by which
#: a refused step shrinks (the comparative study's values).
ETA, DELTA, RHO = 0.8, 0.1, 0.9
#: Refused steps in a row after which a sample is given up.
MAX_REJECTIONS = 150


@dataclass
class NonmonotoneState(TrialState):
    """State of :class:`NonmonotoneAcceleratedGradient`; letters as in the paper.

    ``y`` is the extrapolated point with potential ``fy`` and gradient ``ey``; ``z``, ``fz``,
    ``ez`` belong to its accepted gradient step; ``c`` is the averaged potential, ``q`` its weight,
    ``t`` the momentum; ``curvature`` is the inverse of the step.
    """

    f: Tensor
    y: Tensor
    fy: Tensor
    ey: Tensor
    y_old: Tensor
    ey_old: Tensor
    z: Tensor
    fz: Tensor
    ez: Tensor
    t: Tensor
    q: Tensor
    c: Tensor
    curvature: Tensor
    phase: Tensor


@dataclass(frozen=True)
class NonmonotoneAcceleratedGradient(Solver[NonmonotoneState]):
    """Minimise the potential by nonmonotone accelerated gradient with line search.

    Li and Lin, "Accelerated proximal gradient methods for nonconvex programming" (2015),
    supplement, algorithm 4, without a proximal part: Barzilai-Borwein steps, backtracking, and a
    monitoring gradient step wherever the accelerated one does not decrease the averaged potential
    enough. Each step here is one evaluation, of whichever point the sample needs next, so that
    ``evaluations`` counts potentials and gradients alike (they come together).
    """

    name: ClassVar[str] = "nonmonotone_accelerated_gradient"
    needs_potential: ClassVar[bool] = True

    def start(self, system: System, x: Tensor) -> NonmonotoneState:
        """Evaluate at x, which is also the first extrapolated point."""
        f, e = system.potential_and_residual(x)
        ones = torch.ones_like(f)
        return NonmonotoneState(
            **fresh_trials(x, e),
            f=f,
            y=x,
            fy=f,
            ey=e,
            y_old=x,
            ey_old=e,
            z=x,
            fz=f,
            ez=e,
            t=ones,
            q=ones,
            c=f,
            curvature=torch.full_like(f, 1.0 / first_step(system)),
            phase=torch.full((len(x),), ACCELERATED, device=x.device),
        )

    def step(self, system: System, state: NonmonotoneState) -> NonmonotoneState:
        """Evaluate the point that each sample needs next and move its phase on."""
        from_x = state.phase == MONITOR
        base, slope = where(from_x, state.x, state.y), where(from_x, state.e, state.ey)
        stepped = base - slope / expand(state.curvature, slope)
        extrapolating = state.phase == EXTRAPOLATE
        point = where(extrapolating, state.y, stepped)
        f, e = system.potential_and_residual(point)
        legal = inside(system, point, f)
        f = torch.where(legal, f, torch.inf)

        # Tests of a gradient step, with a slack for rounding.
        moved = point - base
        least = DELTA * dot(moved, moved)
        slack = ROUNDING_UNITS * torch.finfo(f.dtype).eps * state.c.abs()
        ceiling = torch.where(from_x, state.c, torch.maximum(state.fy, state.c))
        good = legal & ~extrapolating & (f <= ceiling - least + slack)
        enough = good & ~from_x & (f <= state.c - least + slack)
        refused = ~good & ~extrapolating
        rejections = torch.where(refused, state.rejections + 1, 0)

        # End of an iteration: the better of the accelerated and the monitoring step.
        take_new = enough | (good & from_x & (f <= state.fz))
        take_z = good & from_x & ~take_new
        done = _finish(state, take_new, take_z, point, f, e)

        # An extrapolated point outside the domain is forgotten; the monitoring step is alone.
        lost = extrapolating & ~legal
        middle = (good & ~from_x & ~enough) | lost
        arrived = extrapolating & legal
        y = where(arrived, point, where(lost, done.x, done.y))
        ey = where(arrived, e, where(lost, done.e, done.ey))
        known = where(middle, done.x, y), where(middle, done.e, ey)
        spectral = _barzilai_borwein(done, *known)
        curvature = torch.where(refused, state.curvature / RHO, state.curvature)
        phase = torch.where(arrived, ACCELERATED, torch.where(middle, MONITOR, done.phase))
        return replace(
            done,
            evaluations=state.evaluations + 1,
            failed=state.failed | (rejections > MAX_REJECTIONS),
            y=y,
            ey=ey,
            fy=torch.where(arrived, f, torch.where(lost, done.f, done.fy)),
            z=where(middle, point, done.z),
            fz=torch.where(middle, f, done.fz),
            ez=where(middle, e, done.ez),
            curvature=torch.where(arrived | middle, spectral, curvature),
            phase=phase,
            rejections=rejections,
        )


def _finish(
    old: NonmonotoneState, new: Tensor, stored: Tensor, point: Tensor, f: Tensor, e: Tensor
) -> NonmonotoneState:
    """Move the samples whose iteration ends, to the new point or to the stored one."""
    over = new | stored
    x = where(new, point, where(stored, old.z, old.x))
    # z of the extrapolation is the accelerated step, whether or not x took it.
    z = where(new & (old.phase == ACCELERATED), point, old.z)
    f_x = torch.where(new, f, torch.where(stored, old.fz, old.f))
    t = 0.5 * (1.0 + torch.sqrt(1.0 + 4.0 * old.t.square()))
    q = ETA * old.q + 1.0
    # After an accelerated step that left the domain there is no z to extrapolate to.
    pull = torch.where(torch.isfinite(old.fz) | (old.phase == ACCELERATED), old.t / t, 0.0)
    y = x + expand(pull, x) * (z - x) + expand((old.t - 1.0) / t, x) * (x - old.x)
    return replace(
        old,
        x=x,
        e=where(new, e, where(stored, old.ez, old.e)),
        f=f_x,
        y=where(over, y, old.y),
        y_old=where(over, old.y, old.y_old),
        ey_old=where(over, old.ey, old.ey_old),
        t=torch.where(over, t, old.t),
        c=torch.where(over, (ETA * old.q * old.c + f_x) / q, old.c),
        q=torch.where(over, q, old.q),
        phase=torch.where(over, EXTRAPOLATE, old.phase),
    )


def _barzilai_borwein(old: NonmonotoneState, point: Tensor, e: Tensor) -> Tensor:
    """``<r, r> / <s, r>`` against the previous extrapolated point; unchanged without curvature."""
    s, r = point - old.y_old, e - old.ey_old
    curvature = dot(r, r) / dot(s, r)
    good = torch.isfinite(curvature) & (curvature > 0)
    return torch.where(good, curvature, old.curvature)
