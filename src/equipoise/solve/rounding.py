"""How far a computed residual may be from the exact one, learned from the points of a solve."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.gauge import Gauge
from equipoise.solve.solver import State
from equipoise.solve.system import System
from equipoise.vectors import norm

#: Units of rounding that evaluations of E lose, relative to their terms and to what the Jacobian
#: makes of x with random signs: at most 0.47 was seen of ``terms + size(J (x signs))``.
UNITS = 0.6
#: Relative step of the difference that measures the latter, as a power of the unit of rounding.
STEP = 0.5


@dataclass
class Rounding:
    """An estimate of the rounding error of E(x) for each sample.

    Formula: ``eps (terms + b)``, with b the size of ``J (x signs)`` for random signs where that was
    measured, else ``||x|| max size(E(x') - E(x)) / ||x' - x||`` over the points seen so far.

    Args:
        x: the latest point, shape (B, ...).
        e: E there.
        steepest: the largest quotient so far, (B,).
        bend: ``size(J (x signs))``, infinite where it was not measured, (B,).
    """

    x: Tensor
    e: Tensor
    steepest: Tensor
    bend: Tensor

    @classmethod
    def at(cls, state: State) -> Rounding:
        """Nothing is known but the starting point."""
        zero = torch.zeros(len(state.x), dtype=state.e.dtype, device=state.e.device)
        return cls(state.x, state.e, zero, torch.full_like(zero, torch.inf))

    @property
    def measured(self) -> Tensor:
        """Boolean (B,)."""
        return torch.isfinite(self.bend)

    def see(self, state: State, gauge: Gauge) -> None:
        """Learn from the next point."""
        if state.x is self.x:
            return
        way = norm(state.x - self.x)
        quotient = gauge.size(state.e - self.e) / way
        better = (way > 0) & torch.isfinite(quotient)
        self.steepest = torch.where(better, torch.maximum(self.steepest, quotient), self.steepest)
        self.x, self.e = state.x, state.e

    def slack(self, gauge: Gauge) -> Tensor:
        """The estimate, (B,)."""
        bend = torch.where(self.measured, self.bend, self.steepest * norm(self.x))
        return UNITS * torch.finfo(self.e.dtype).eps * (gauge.terms + bend)

    def measure(self, system: System, state: State, gauge: Gauge, chosen: Tensor) -> None:
        """Measure the bend of the chosen samples, boolean (B,); one evaluation of all."""
        generator = torch.Generator().manual_seed(0)
        signs = torch.randint(0, 2, state.x.shape[1:], generator=generator).to(state.x)
        step = torch.finfo(state.e.dtype).eps ** STEP
        change = system.residual(state.x + step * (2.0 * signs - 1.0) * state.x) - state.e
        bend = torch.nan_to_num(gauge.size(change) / step, nan=torch.finfo(change.dtype).max)
        self.bend = torch.where(chosen, bend, self.bend)
        state.evaluations = state.evaluations + 1

    def select(self, keep: Tensor) -> Rounding:
        """The estimate of the samples ``keep`` (indices)."""
        return Rounding(self.x[keep], self.e[keep], self.steepest[keep], self.bend[keep])
