"""The loop: statuses, per-sample stopping, counts, history, bounds, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from systems import (
    LORENTZ,
    QUADRATIC,
    SMOOTH,
    STRONG,
    DenseSystem,
    huber,
    random_system,
)

from equipoise.bounds import Bound, estimated
from equipoise.errors import HypothesisError, InputError, UnknownNameError, UsageError
from equipoise.solve import (
    LBFGS,
    SOLVERS,
    Anderson,
    FixedPoint,
    Resolvent,
    Solver,
    default_solver,
    solve,
    solver_by_name,
)
from equipoise.solve.system import System
from equipoise.status import Status

ALL = [cls() for cls in SOLVERS.values()]


def diagonal(*conditions: float, n: int = 12) -> DenseSystem:
    """Quadratics with spectra between 1 and the given condition numbers, one a sample."""
    scales = [torch.logspace(0, torch.tensor(c).log10() / 2, n).double() for c in conditions]
    A = torch.stack([torch.diag(s) for s in scales])
    y = torch.randn(len(A), n, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return DenseSystem(A, y, 1e-3 * torch.eye(n, dtype=torch.float64), QUADRATIC, shift=None)


def start(system: DenseSystem) -> torch.Tensor:
    return system._back(system.y)


def test_the_test_system_is_a_system() -> None:
    assert isinstance(random_system(), System)


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_every_sample_stops_by_itself_and_every_evaluation_is_counted(solver: Solver) -> None:
    system = random_system(7, phi=STRONG, n=10, k=12, shift=8.0, batch=4)
    x0 = start(system)
    x0[2] = system.newton(x0)[2] + 1e-3  # one sample starts close
    solution = solve(system, x0, solver, tolerance=1e-7)
    assert solution.all_converged
    assert solution.evaluations[2] < solution.evaluations.max()
    assert torch.equal(system.counter.samples, solution.evaluations)
    true = torch.linalg.vector_norm(replace(system).residual(solution.x), dim=1)
    torch.testing.assert_close(true, solution.residual)
    assert bool((true <= 1e-7 * system.scale).all())


def test_batch_of_different_conditioning_in_closed_form() -> None:
    system = diagonal(1.0, 10.0, 1e4)
    eye = torch.eye(12, dtype=torch.float64)
    exact = torch.linalg.solve(system.A.mT @ system.A + 1e-6 * eye, start(system))
    solution = solve(system, torch.zeros_like(exact), LBFGS(), tolerance=1e-10)
    assert solution.all_converged
    torch.testing.assert_close(solution.x, exact, rtol=1e-8, atol=1e-8)
    first, second, third = solution.evaluations.tolist()
    assert first < second < third


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    system = random_system(3, phi=STRONG, n=10, k=12).to(dtype)
    solution = solve(system, start(system), tolerance=1e-4)
    assert solution.all_converged
    for tensor in (solution.x, solution.residual, solution.scale):
        assert tensor.dtype == dtype


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_float32_floor_is_stagnation(solver: Solver) -> None:
    system = random_system(3, phi=STRONG, n=10, k=12, shift=8.0).to(torch.float32)
    solution = solve(system, start(system), solver, tolerance=1e-12, max_evaluations=10_000)
    assert solution.statuses == [Status.STAGNATED] * 3
    assert "float64" in solution.summary()
    assert "Rounding in float32" in solution.summary()
    # The nonmonotone method tests potentials only, so it stalls near the root of the rounding.
    floor = 1e-3 if solver.name.startswith("nonmonotone") else 1e-5
    assert float(solution.relative_residual.max()) < floor


def test_iteration_limit_keeps_the_count_and_the_best_iterate() -> None:
    system = random_system(1, phi=huber(1e3), tikhonov=1.0, n=40, k=80)
    x0 = start(system)
    solution = solve(system, x0, LBFGS(), tolerance=1e-8, max_evaluations=9, history=True)
    assert solution.statuses == [Status.ITERATION_LIMIT] * 3
    assert solution.evaluations.tolist() == [9, 9, 9]
    assert "more evaluations" in solution.summary()
    assert solution.history is not None
    assert solution.history_evaluations is not None
    assert solution.history.shape == solution.history_evaluations.shape == (9, 3)
    assert torch.equal(solution.history.amin(0), solution.relative_residual)
    assert solution.history_evaluations[:, 0].tolist() == list(range(1, 10))


def test_history_goes_on_for_all_samples_when_some_are_done() -> None:
    system = diagonal(1.0, 1e4)
    solution = solve(system, torch.zeros(2, 12).double(), LBFGS(), tolerance=1e-6, history=True)
    assert solution.history is not None
    assert solution.history_evaluations is not None
    checks = len(solution.history)
    assert checks == int(solution.evaluations.max())
    assert torch.equal(solution.history[-1], solution.relative_residual)
    assert int(solution.history_evaluations[-1, 0]) == int(solution.evaluations[0]) < checks
    assert solve(system, torch.zeros(2, 12).double()).history is None


@pytest.mark.parametrize("step", [3.0, 2.02])
def test_expansive_map_is_divergence_with_advice(step: float) -> None:
    eye = torch.eye(6, dtype=torch.float64)
    system = DenseSystem(eye.expand(2, 6, 6), torch.ones(2, 6).double(), 0.0 * eye)
    x0 = 3.0 + torch.zeros(2, 6, dtype=torch.float64)
    solution = solve(system, x0, FixedPoint(step_size=step), max_evaluations=2000)
    assert solution.statuses == [Status.DIVERGED] * 2
    assert "expansive" in solution.summary()
    assert "anderson" in solution.summary()
    assert torch.equal(solution.x, x0)  # nothing better was seen
    assert solve(system, x0, FixedPoint()).all_converged


def test_one_diverging_sample_leaves_the_others_alone() -> None:
    system = diagonal(1.0, 1e4)
    solution = solve(system, torch.zeros(2, 12).double(), FixedPoint(step_size=0.5))
    assert solution.statuses == [Status.CONVERGED, Status.DIVERGED]


def test_leaving_the_domain_is_a_status() -> None:
    system = random_system(2, phi=STRONG, n=8, k=10)
    exact = system.newton(start(system))
    floor = float(exact.min()) - 0.05
    inside = replace(system, floor=floor)
    x0 = torch.full_like(exact, float(exact.max()) + 1.0)
    solution = solve(inside, x0, FixedPoint(step_size=1.0))
    assert Status.OUT_OF_DOMAIN in solution.statuses
    assert bool((solution.x > floor).all())
    assert "domain" in solution.summary()
    # The solvers that search their step stay inside and arrive.
    for solver in ALL:
        if solver.name == "resolvent":
            continue
        found = solve(inside, x0, solver, tolerance=1e-6)
        assert found.all_converged, solver.name
        torch.testing.assert_close(found.x, exact, rtol=0, atol=1e-4)


def test_starting_outside_the_domain_is_a_status() -> None:
    system = replace(random_system(2, phi=STRONG, n=8, k=10), floor=10.0)
    solution = solve(system, torch.zeros(3, 8).double(), LBFGS())
    assert solution.statuses == [Status.OUT_OF_DOMAIN] * 3


@pytest.mark.parametrize("skew", [0.0, 2.0])
def test_error_bound_dominates_the_true_distance(skew: float) -> None:
    system = random_system(4, phi=STRONG, tikhonov=0.2, n=10, k=12, skew=skew, curvature=(0.5, 1.5))
    exact = system.newton(start(system))
    for tolerance in (1e-1, 1e-3, 1e-6):
        solution = solve(system, start(system), tolerance=tolerance)
        distance = torch.linalg.vector_norm(solution.x - exact, dim=1)
        assert solution.error_bound is not None
        assert bool((distance <= solution.error_bound).all())
        assert bool((solution.error_bound <= 100 * distance + 1e-12).all())


@pytest.mark.parametrize("curvature", [None, (-9.0, 1.0)])
def test_no_error_bound_without_strong_monotonicity(curvature: tuple[float, float] | None) -> None:
    system = random_system(4, phi=LORENTZ, tikhonov=0.1, curvature=curvature)
    assert solve(system, start(system)).error_bound is None


def test_no_error_bound_for_a_modulus_that_is_only_estimated() -> None:
    class Sampled(DenseSystem):
        @property
        def modulus(self) -> Bound | None:
            known = super().modulus
            assert known is not None
            return estimated(known.value)

    system = random_system(4, phi=STRONG, tikhonov=0.2, curvature=(0.5, 1.5))
    sampled = Sampled(system.A, system.y, system.W, STRONG, curvature=(0.5, 1.5))
    assert solve(system, start(system)).error_bound is not None
    assert solve(sampled, start(sampled)).error_bound is None


def test_looking_less_often_finds_the_same() -> None:
    system = random_system(5, phi=SMOOTH, tikhonov=0.3)
    often = solve(system, start(system), tolerance=1e-8)
    seldom = solve(system, start(system), tolerance=1e-8, check_every=4)
    assert seldom.all_converged
    surplus = seldom.evaluations - often.evaluations
    assert int(surplus.min()) >= 0
    assert int(surplus.max()) <= 3
    torch.testing.assert_close(often.x, seldom.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_tolerance_must_be_positive(tolerance: float) -> None:
    system = random_system()
    with pytest.raises(InputError, match="positive"):
        solve(system, start(system), tolerance=tolerance)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_start_must_be_finite(bad: float) -> None:
    system = random_system()
    x0 = start(system)
    x0[1, 3] = bad
    with pytest.raises(InputError, match="x0"):
        solve(system, x0)


@pytest.mark.parametrize("solver", [s for s in ALL if s.needs_potential], ids=lambda s: s.name)
def test_descent_methods_refuse_fields_without_potential(solver: Solver) -> None:
    system = random_system(skew=1.0)
    with pytest.raises(HypothesisError, match="anderson"):
        solve(system, start(system), solver)


def test_resolvent_refuses_physics_that_cannot_be_inverted() -> None:
    system = random_system()
    with pytest.raises(HypothesisError, match="lbfgs"):
        solve(system, start(system), Resolvent())


@pytest.mark.parametrize(
    "build",
    [
        lambda: LBFGS(memory=0),
        lambda: Anderson(memory=0),
        lambda: FixedPoint(step_size=0.0),
        lambda: Resolvent(relaxation=2.0),
    ],
)
def test_senseless_options_are_refused(build: object) -> None:
    with pytest.raises(UsageError):
        build()  # type: ignore[operator]


def test_names() -> None:
    for name, cls in SOLVERS.items():
        assert type(solver_by_name(name)) is cls
        assert cls.name == name
    with pytest.raises(UnknownNameError, match="Did you mean 'anderson'") as caught:
        solver_by_name("andersen")
    assert caught.value.nearest == "anderson"


def test_default_suits_the_field() -> None:
    assert default_solver(random_system()) == LBFGS()
    assert default_solver(random_system(skew=1.0)) == Anderson()


def test_what_is_returned_is_never_the_tensor_that_was_given() -> None:
    system = random_system(batch=2)
    found = solve(system, start(system), tolerance=1e-6).x
    again = solve(system, found, tolerance=1e-3)
    assert again.evaluations.tolist() == [1, 1]
    assert again.x.data_ptr() != found.data_ptr()
