"""Contraction factors of the maps (theory, section 2) on random instances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import STRONG, DenseSystem, random_system
from torch import Tensor

from equipoise.bounds import Bound, estimated, proved
from equipoise.solve import FixedPoint, Resolvent, Solver, solve
from equipoise.solve.fixed_point import certified_step, first_step

seeds = st.integers(0, 10_000)
sizes = st.floats(1e-3, 1e3)


def pair_system(seed: int, skew: float, shift: float | None = None) -> DenseSystem:
    """Two samples of one equation, with R strongly monotone; A is the same for both."""
    system = random_system(
        seed, batch=2, n=6, p=4, k=9, phi=STRONG, skew=skew, curvature=(0.5, 1.5), shift=shift
    )
    system.y[1] = system.y[0]
    return system


def factor(solver: Solver, system: DenseSystem, seed: int, size: float) -> float:
    """``||T x - T z|| / ||x - z||`` for a random pair."""
    generator = torch.Generator().manual_seed(seed + 1)
    x = size * torch.randn(2, 6, generator=generator, dtype=torch.float64)
    moved = solver.step(system, solver.start(system, x)).x
    return float((moved[0] - moved[1]).norm() / (x[0] - x[1]).norm())


def field_constants(system: DenseSystem) -> tuple[float, float, float]:
    """mu and L of R = W^T phi(W .) + K, and the smallest eigenvalue of A^T A."""
    ridge = torch.linalg.eigvalsh(system.W.T @ system.W)
    skew = 0.0 if system.K is None else float(torch.linalg.matrix_norm(system.K, 2))
    low = max(0.0, float(torch.linalg.eigvalsh(system.A[0].T @ system.A[0]).min()))
    return 0.5 * float(ridge.min()), 1.5 * float(ridge.max()) + skew, low


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=sizes)
def test_certified_step_for_gradient_fields(seed: int, size: float) -> None:
    system = pair_system(seed, skew=0.0)
    assert system.modulus is not None
    assert system.lipschitz is not None
    m, bound = system.modulus.value, system.lipschitz.value
    assert certified_step(system) == pytest.approx(2 / (m + bound))
    assert factor(FixedPoint(), system, seed, size) <= (bound - m) / (bound + m) * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=sizes, skew=st.floats(0.01, 10.0))
def test_certified_step_for_other_fields(seed: int, size: float, skew: float) -> None:
    system = pair_system(seed, skew)
    assert system.modulus is not None
    assert system.lipschitz is not None
    m, bound = system.modulus.value, system.lipschitz.value
    assert certified_step(system) == pytest.approx(m / bound**2)
    rate = math.sqrt(1 - (m / bound) ** 2)
    assert factor(FixedPoint(), system, seed, size) <= rate * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=sizes)
def test_resolvent_for_gradient_fields(seed: int, size: float) -> None:
    system = pair_system(seed, skew=0.0)
    mu, bound, low = field_constants(system)
    system.shift = 0.5 * (mu + bound)
    rate = (bound - mu) / (2 * low + bound + mu)
    assert factor(Resolvent(), system, seed, size) <= rate * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=sizes, skew=st.floats(0.01, 10.0))
def test_resolvent_for_other_fields(seed: int, size: float, skew: float) -> None:
    system = pair_system(seed, skew)
    mu, bound, low = field_constants(system)
    m, b = low + mu, bound**2 - mu**2
    system.shift = (mu * low + bound**2) / m
    rate = math.sqrt(b / (m**2 + b))
    assert factor(Resolvent(), system, seed, size) <= rate * (1 + 1e-9)


def test_factor_of_gradient_step_is_attained() -> None:
    # Diagonal R: the slowest and the fastest coordinate contract by exactly the factor.
    eye = torch.eye(2, dtype=torch.float64)
    A = torch.diag(torch.tensor([1.0, 3.0]).double()).expand(2, 2, 2)
    system = DenseSystem(A, torch.zeros(2, 2).double(), 0.0 * eye, curvature=(0.0, 0.0))
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    solver = FixedPoint()
    moved = solver.step(system, solver.start(system, x)).x
    torch.testing.assert_close(moved, torch.diag(torch.tensor([0.8, -0.8]).double()))


class Traits:
    """The traits of a system and nothing else."""

    def __init__(self, modulus: Bound | None, lipschitz: Bound | None, disc: bool) -> None:
        self.modulus, self.lipschitz, self.disc = modulus, lipschitz, disc


@pytest.mark.parametrize(
    ("modulus", "lipschitz", "disc", "expected"),
    [
        (None, proved(2.0), True, None),
        (proved(1.0), None, True, None),
        (estimated(1.0), proved(2.0), True, None),
        (proved(1.0), estimated(2.0), True, None),
        (proved(1.0), proved(math.inf), True, None),
        (proved(-0.1), proved(2.0), True, None),
        (proved(0.0), proved(2.0), True, 0.5),
        (proved(2.0), proved(6.0), True, 0.25),
        (proved(0.0), proved(2.0), False, None),
        (proved(1.0), proved(2.0), False, 0.25),
    ],
)
def test_which_steps_are_certified(
    modulus: Bound | None, lipschitz: Bound | None, disc: bool, expected: float | None
) -> None:
    system = Traits(modulus, lipschitz, disc)
    assert certified_step(system) == expected  # type: ignore[arg-type]
    usable = lipschitz is not None and math.isfinite(lipschitz.value)
    assert first_step(system) == (1 / lipschitz.value if usable else 1.0)  # type: ignore


def test_certified_step_converges_at_least_at_its_rate() -> None:
    system: DenseSystem = pair_system(3, skew=0.0)
    exact: Tensor = system.newton(torch.zeros(2, 6).double())
    assert system.modulus is not None
    assert system.lipschitz is not None
    m, bound = system.modulus.value, system.lipschitz.value
    solution = solve(system, torch.zeros(2, 6).double(), FixedPoint(), tolerance=1e-9)
    assert solution.all_converged
    rate = (bound - m) / (bound + m)
    steps = int(solution.evaluations.max()) - 1
    distance = float((solution.x - exact).norm(dim=1).max())
    assert distance <= rate**steps * float(exact.norm(dim=1).max()) + 1e-12
