"""How far a computed residual may be from the exact one."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from equipoise.gauge import Gauge, weighted_norm
from equipoise.randomness import signs_like
from equipoise.solve.solver import State
from equipoise.solve.system import System, Verifiable
from equipoise.vectors import norm

#: Units of rounding that evaluations of E lose, relative to their terms and to what the Jacobian
#: makes of x with random signs: at most 0.47 was seen of ``terms + size(J (x signs))``.
UNITS = 0.6
#: Nothing is known of the Jacobian at the first point; it may multiply rounding by so much.
STEEP = 100.0
#: Relative step of the difference that measures the latter, as a power of the unit of rounding.
STEP = 0.5


@dataclass
class Rounding:
    """An estimate of the rounding error of E(x) for each sample.

    Formula: ``eps (terms + b)``, with b the size of ``J (x signs)`` for random signs where that was
    measured, else ``||x|| max size(E(x') - E(x)) / ||x' - x||`` over the points seen so far; at the
    first point ``STEEP`` times as much. Where the system can be evaluated in float64, the error
    itself in place of ``eps b``.

    Args:
        x: the latest point, shape (B, ...).
        e: E there.
        steepest: the largest quotient so far, (B,).
        bend: b where it was measured at this point, else infinite, (B,).
        first: boolean (B,): only one point was seen.
        tries: points at which it was measured, integer (B,).
        doubted: boolean (B,): at the latest point it decided whether the residual is small enough.
    """

    x: Tensor
    e: Tensor
    steepest: Tensor
    bend: Tensor
    first: Tensor
    tries: Tensor
    doubted: Tensor

    @classmethod
    def at(cls, state: State) -> Rounding:
        """Nothing is known but the starting point."""
        zero = torch.zeros(len(state.x), dtype=state.e.dtype, device=state.e.device)
        unknown = torch.full_like(zero, torch.inf)
        tries = torch.zeros_like(state.evaluations)
        first, doubted = torch.ones_like(state.failed), torch.zeros_like(state.failed)
        return cls(state.x, state.e, zero, unknown, first, tries, doubted)

    @property
    def measured(self) -> Tensor:
        """Whether the error at the present point was measured, boolean (B,)."""
        return torch.isfinite(self.bend)

    def see(self, state: State, gauge: Gauge) -> None:
        """Learn from the next point."""
        if state.x is self.x:
            return
        way = norm(state.x - self.x)
        quotient = gauge.size(state.e - self.e) / way
        better = (way > 0) & torch.isfinite(quotient)
        self.steepest = torch.where(better, torch.maximum(self.steepest, quotient), self.steepest)
        self.first = self.first & ~better
        self.bend = torch.where(way > 0, torch.inf, self.bend)
        self.x, self.e = state.x, state.e

    def slack(self, gauge: Gauge) -> Tensor:
        """The estimate, (B,)."""
        guess = self.guess(gauge, norm(self.x))
        measured = UNITS * torch.finfo(self.e.dtype).eps * (gauge.terms + self.bend)
        return torch.where(self.measured, measured, guess)

    def guess(self, gauge: Gauge, size: Tensor) -> Tensor:
        """The estimate at points of these norms where nothing was measured, (B,)."""
        guess = gauge.terms + self.steepest * size
        guess = torch.where(self.first, STEEP * guess, guess)
        return UNITS * torch.finfo(self.e.dtype).eps * guess

    def measure(self, system: System, state: State, gauge: Gauge, chosen: Tensor) -> None:
        """Measure the error or the bend of the chosen samples, boolean (B,); one evaluation."""
        rows = chosen.nonzero().squeeze(1)
        part = system.select(rows) if len(rows) < len(chosen) else system
        if part is None:  # it cannot be cut: the others are evaluated in vain
            part, rows = system, torch.arange(len(chosen), device=chosen.device)
        bend = _bend(part, state.x[rows], state.e[rows], gauge.select(rows))
        bend = torch.nan_to_num(bend, nan=torch.finfo(bend.dtype).max)
        measured = self.bend.index_copy(0, rows, bend)
        self.bend = torch.where(chosen, measured, self.bend)
        self.tries = self.tries + chosen
        state.evaluations = state.evaluations + chosen

    def select(self, keep: Tensor) -> Rounding:
        """The estimate of the samples ``keep`` (indices)."""
        return Rounding(*(getattr(self, each.name)[keep] for each in fields(self)))


def _bend(system: System, x: Tensor, e: Tensor, gauge: Gauge) -> Tensor:
    """What the error of ``e = E(x)`` says of b, or ``size(J (x signs))`` by a difference, (B,)."""
    eps = torch.finfo(e.dtype).eps
    exact = system.exact_residual(x) if isinstance(system, Verifiable) else None
    if exact is None:
        step = eps**STEP
        change = system.residual(x + step * signs_like(x[0], 0) * x) - e
        return gauge.size(change) / step
    weights = None if gauge.weights is None else gauge.weights.to(exact.dtype)
    excess = weighted_norm(exact, weights) - gauge.size(e)
    return excess.to(e.dtype).clamp_min(0.0) / (UNITS * eps)
