"""What a state says of its points is true of every sample after every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from systems import LORENTZ, SMOOTH, Activation, DenseSystem, huber, random_system
from torch import Tensor

from equipoise.solve import (
    SOLVERS,
    Anderson,
    FixedPoint,
    NonmonotoneAcceleratedGradient,
    Solver,
)
from equipoise.solve import anderson as anderson_module
from equipoise.solve.nonmonotone import EXTRAPOLATE, MONITOR
from equipoise.solve.solver import State, select_state
from equipoise.vectors import dot, norm

SIZE, STEPS = 8, 50
#: Every solver, and those that have a second way to choose their step or map.
ALL: list[Solver] = [cls() for cls in SOLVERS.values()] + [FixedPoint(step_size=0.1)]


@dataclass
class Rough(DenseSystem):
    """A system whose samples live on different scales, so that not all of them take a step."""

    sizes: Tensor = field(default_factory=lambda: torch.ones(1))

    def residual(self, x: Tensor) -> Tensor:
        scale = self.sizes[self.rows].unsqueeze(1)
        return scale * super().residual(scale * x)

    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, _ = super().potential_and_residual(self.sizes[self.rows].unsqueeze(1) * x)
        return value, self.residual(x)


def systems(solver: Solver) -> Iterator[DenseSystem]:
    """Fields that are not monotone, nearly nonsmooth, and of different sizes in one batch."""
    kinds: list[tuple[Activation, float]] = [(LORENTZ, 0.0), (huber(30.0), 0.0), (SMOOTH, 0.0)]
    if not solver.needs_potential:
        kinds += [(LORENTZ, 3.0), (SMOOTH, 1.0)]
    for seed, (phi, skew) in enumerate(kinds):
        for shift in [None, 0.5] if solver.name in ("anderson", "resolvent") else [None]:
            if solver.name == "resolvent" and shift is None:
                continue
            base = random_system(seed, batch=4, n=SIZE, p=3, k=12, phi=phi, skew=skew, shift=shift)
            made = Rough(**{f: getattr(base, f) for f in ("A", "y", "W", "phi", "K", "shift")})
            made.W = 4.0 * made.W
            made.sizes = torch.tensor([0.3, 1.0, 2.0, 4.0]).double()
            if shift is not None:  # one inverse for all samples
                made.sizes = torch.ones(4).double()
                made.A = made.A[:1].expand(4, -1, -1)
            yield made
            if shift is None and seed % 2:
                yield replace(made, floor=-0.6)


def starts(system: DenseSystem) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, SIZE, generator=generator, dtype=torch.float64)
    return 0.5 * x if system.floor is None else x.abs()


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def check(system: DenseSystem, state: Any) -> None:
    """All pairs of a point and what is said of it."""
    same(state.e, system.residual(state.x))
    potential = system.gradient_field and getattr(state, "searched", True)
    if hasattr(state, "f") and potential:
        same(state.f, system.potential_and_residual(state.x)[0])
    if hasattr(state, "base_x"):
        turned: Callable[[Tensor], Tensor] = state.inverse or (lambda v: v)
        same(state.base_e, system.residual(state.base_x))
        for e, g, size in (
            (state.e, state.g, state.size),
            (state.base_e, state.base_g, state.base_size),
        ):
            same(g, turned(e))
            same(size, norm(g))
    if hasattr(state, "fy"):
        seen = (state.phase != EXTRAPOLATE).nonzero().squeeze(1)  # elsewhere y is still to be met
        same(state.ey[seen], system.residual(state.y)[seen])
        same(state.fy[seen], system.potential_and_residual(state.y)[0][seen])
        stored = (state.phase == MONITOR) & torch.isfinite(state.fz)
        rows = stored.nonzero().squeeze(1)
        same(state.ez[rows], system.residual(state.z)[rows])
        same(state.fz[rows], system.potential_and_residual(state.z)[0][rows])
        same(state.ey_old, system.residual(state.y_old))
    if hasattr(state, "slope"):
        same(state.slope, dot(state.direction, state.e))


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_residuals_belong_to_their_points_after_every_step(
    solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anderson_module, "WINDOW", 3)  # samples get stuck, others do not
    mixed = moved_apart = 0
    for system in systems(solver):
        state: State = solver.start(system, starts(system))
        check(system, state)
        for _ in range(STEPS):
            new = solver.step(system, state)
            check(system, new)
            moved = (new.x != state.x).any(1)
            mixed += int(bool(moved.any()) and not bool(moved.all()))
            if isinstance(solver, Anderson):
                stuck = new.next_run > state.next_run
                moved_apart += int(bool(stuck.any()) and not bool(stuck.all()))
            state = new
        kept = torch.tensor([2, 0])
        check(system.select(kept), select_state(state, kept))
    if solver.name != "resolvent" and solver != FixedPoint(step_size=0.1):
        assert mixed > 5  # in many steps some samples moved and others did not
    if isinstance(solver, Anderson):
        assert moved_apart > 3


def test_the_nonmonotone_method_takes_the_better_of_two_steps() -> None:
    """What the accelerated step gave is kept while the monitoring step is tried."""
    system, solver = random_system(1, batch=3, n=SIZE, p=3, k=12), NonmonotoneAcceleratedGradient()
    state = solver.start(system, starts(system)[:3])
    low = torch.tensor([-1e9, -1e9, 1e9], dtype=torch.float64)
    # Far below what is reached, the averaged potential asks for a monitoring step.
    stored = solver.step(system, replace(state, c=low, curvature=100.0 + 0.0 * low))
    assert stored.phase.tolist() == [MONITOR, MONITOR, EXTRAPOLATE]
    check(system, stored)
    assert torch.equal(stored.x[:2], state.x[:2])
    assert bool((stored.fz[:2] < state.f[:2]).all())
    # A shorter monitoring step is worse than the stored one, a longer one is better.
    curvature = torch.tensor([1e4, 30.0, 100.0], dtype=torch.float64)
    taken = solver.step(system, replace(stored, c=state.f + 1.0, curvature=curvature))
    check(system, taken)
    assert torch.equal(taken.x[0], stored.z[0])
    assert not torch.equal(taken.x[1], stored.z[1])
    assert float(taken.f[1]) < float(stored.fz[1])
