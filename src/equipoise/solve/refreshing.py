"""The initial inverse Hessian of L-BFGS: a preconditioner, made anew as the iterate moves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equipoise.convolutions.circulant import FLOOR, SETTLED_FLOOR
from equipoise.solve.secant import SecantPairs
from equipoise.solve.system import Preconditionable, Preconditioner, System
from equipoise.vectors import dot

#: Steps after which the preconditioner is made anew, and then whenever their number has doubled.
FIRST_REFRESHES = (1, 3)
#: Rebuilds at which the preconditioner is fitted to the latest steps: then it may turn into a
#: multiple of the identity, where it is of no use.
ADAPTED = (3, 6)
#: Steps that it is fitted to; one step of an image of ``LARGE`` numbers tells as much.
STEPS = 3
LARGE = 2**18
#: Where a warm start has a residual below this share of the scale, the first preconditioner is as
#: good as those of the first steps.
NEAR = 0.1
#: From there it is made anew no earlier than after so many steps.
NEAR_REFRESH = 24


@dataclass(frozen=True)
class InitialInverse:
    """The initial inverse Hessian ``gamma P``, with P made anew after 1, 3, 6, 12, 24, ... steps.

    From starts near the solutions P is made anew after 24, 48, ... steps only.

    Args:
        P: a preconditioner of the system, or None for the identity.
        gamma: scale of each sample, (B,).
        near: whether the solve started near the solutions.
        new: whether no step was taken since P was made.
    """

    P: Preconditioner | None
    gamma: Tensor
    near: bool
    new: bool

    @classmethod
    def at(
        cls, system: System, x: Tensor, e: Tensor, *, preconditioned: bool, warm: bool
    ) -> InitialInverse:
        """Begin at a starting point.

        Args:
            system: the equation.
            x: starting point, shape (B, ...).
            e: ``E(x)``.
            preconditioned: whether to use the system's preconditioner, if any.
            warm: whether samples start at solutions of equations nearby.
        """
        near = warm and bool((system.gauge.size(e) <= NEAR * system.gauge.scale).all())
        P = _made(system, x, SETTLED_FLOOR if near else FLOOR) if preconditioned else None
        return cls(P, e.new_ones(len(e)), near, new=True)

    def select(self, keep: Tensor) -> InitialInverse:
        """The map of the samples ``keep`` (indices)."""
        P = None if self.P is None else self.P.select(keep)
        return replace(self, P=P, gamma=self.gamma[keep])

    @property
    def plain(self) -> bool:
        """Whether it is a multiple of the identity for every sample."""
        return self.P is None or bool(torch.isfinite(self.P.factor).all())

    def scaled(self, y: Tensor, curvature: Tensor) -> InitialInverse:
        """Scale P by ``<s, y> / <y, P y>`` for the newest pair.

        A preconditioner has nearly the right scale, so one pair after it was made is enough, unless
        it is a multiple of the identity.

        Args:
            y: change of E, shape (B, ...).
            curvature: ``<s, y>``, 0 where it is not positive, (B,).
        """
        if self.P is not None and not self.new:
            factor = self.P.factor
            gamma = curvature / (factor * dot(y, y))
            good = (curvature > 0) & torch.isfinite(factor)
        else:
            gamma = curvature / dot(y, y if self.P is None else self.P(y))
            good = curvature > 0
        return replace(self, gamma=torch.where(good, gamma, self.gamma))

    def refreshed(self, system: System, x: Tensor, pairs: SecantPairs) -> InitialInverse:
        """Make P anew at x where that is due, fitted to the latest pairs where they tell enough."""
        if self.P is None or not self._due(pairs.count):
            return replace(self, new=False)
        P = _made(system, x, self.P.floor)
        if P is not None and pairs.count in ADAPTED:
            steps = STEPS if x[0].numel() < LARGE else 1
            P = P.adapted(*pairs.latest(steps, x.shape[1:]))
        return replace(self, P=P, new=True)

    def _due(self, steps: int) -> bool:
        if self.near and steps < NEAR_REFRESH:
            return False
        first = FIRST_REFRESHES[-1]
        later = steps > first and steps % first == 0 and (steps // first).bit_count() == 1
        return steps in FIRST_REFRESHES or later


def _made(system: System, x: Tensor, floor: float | Tensor) -> Preconditioner | None:
    return system.preconditioner(x, floor) if isinstance(system, Preconditionable) else None
