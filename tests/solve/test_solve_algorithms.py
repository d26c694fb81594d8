"""Every algorithm against independent references, on convex, nonconvex and non-gradient fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from systems import LORENTZ, QUADRATIC, SMOOTH, DenseSystem, huber, random_system
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.solve import (
    LBFGS,
    SOLVERS,
    Anderson,
    FixedPoint,
    NonmonotoneAcceleratedGradient,
    Resolvent,
    Solver,
    solve,
)
from equipoise.solve.anderson import mixing_weights
from equipoise.solve.secant import SecantPairs
from equipoise.status import Status

DESCENT = [cls() for cls in SOLVERS.values() if cls.needs_potential]
ANY_FIELD = [Anderson(), FixedPoint(), Resolvent()]


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def start(system: DenseSystem) -> Tensor:
    return system._back(system.y)


def scipy_minimum(system: DenseSystem, tolerance: float) -> tuple[Tensor, int]:
    """Minimiser of a one-sample system by scipy's L-BFGS-B, and evaluations to the tolerance."""
    target = tolerance * float(system.scale)
    count = {"all": 0, "reached": 0}

    def fun(v: np.ndarray) -> tuple[float, np.ndarray]:
        f, e = system.potential_and_residual(torch.from_numpy(v)[None])
        count["all"] += 1
        if not count["reached"] and float(e.norm()) <= target:
            count["reached"] = count["all"]
        return float(f), e[0].numpy()

    options = {"maxiter": 5000, "maxfun": 5000, "ftol": 0.0, "gtol": 1e-13, "maxcor": 10}
    result = minimize(fun, start(system)[0].numpy(), jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(result.x), count["reached"]


@pytest.mark.parametrize("solver", [*DESCENT, *ANY_FIELD], ids=lambda s: s.name)
def test_strongly_convex_ridge_against_scipy(solver: Solver) -> None:
    system = random_system(11, phi=SMOOTH, tikhonov=1.0, n=30, k=60, shift=8.0)
    solution = solve(system, start(system), solver, tolerance=1e-9, max_evaluations=3000)
    assert solution.all_converged, solution.summary()
    for i in range(3):
        reference, _ = scipy_minimum(system.one(i), 1e-9)
        torch.testing.assert_close(solution.x[i], reference, rtol=0, atol=1e-7)


@pytest.mark.parametrize("solver", DESCENT, ids=lambda s: s.name)
def test_nonconvex_potential_reaches_a_minimum(solver: Solver) -> None:
    system = random_system(12, phi=LORENTZ, n=20, k=60, p=14, tikhonov=0.01)
    system.W = 3.0 * system.W
    x0 = start(system)
    bend = system.jacobian(x0)
    assert float(torch.linalg.eigvalsh(bend).min()) < -0.1  # the start lies where E is concave
    solution = solve(system, x0, solver, tolerance=1e-7, max_evaluations=4000)
    assert solution.all_converged, solution.summary()
    assert float(torch.linalg.eigvalsh(system.jacobian(solution.x)).min()) > 0
    before, after = (system.potential_and_residual(x)[0] for x in (x0, solution.x))
    assert bool((after < before).all())


@pytest.mark.parametrize("shift", [None, 0.3, 3.0])
def test_anderson_on_mostly_skew_field(shift: float | None) -> None:
    # The skew part is an order of magnitude above the modulus of monotonicity.
    system = random_system(14, phi=SMOOTH, n=20, k=30, p=4, skew=5.0, tikhonov=0.1, shift=shift)
    exact = system.newton(start(system))
    solution = solve(system, start(system), Anderson(), tolerance=1e-9)
    assert solution.all_converged, solution.summary()
    torch.testing.assert_close(solution.x, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [None, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_anderson_on_field_that_is_not_monotone(shift: float | None, dtype: torch.dtype) -> None:
    # Minimising the residual alone gets stuck here at more than twice the scale.
    system = random_system(
        4, phi=LORENTZ, skew=0.5, n=60, k=100, p=40, condition=10, shift=shift
    ).to(dtype)
    system.W = 3.0 * system.W
    symmetric = system.jacobian(start(system))
    assert float(torch.linalg.eigvalsh(symmetric + symmetric.mT).min()) < -1
    solution = solve(system, start(system), Anderson(), tolerance=1e-5, max_evaluations=2000)
    assert solution.all_converged, solution.summary()


def test_searched_step_gives_up_on_a_field_that_is_not_monotone() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    # E(x) = W^T (W x) - y with the sign turned: expansive along every direction.
    minus = (lambda s: -s.square(), lambda s: -2 * s, lambda s: -2 * torch.ones_like(s))
    skew = torch.tensor([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]]).double()
    system = DenseSystem(eye[None], torch.ones(1, 4).double(), eye, minus, 1e-3 * skew)
    solution = solve(system, torch.zeros(1, 4).double(), FixedPoint())
    assert solution.statuses == [Status.STAGNATED]
    assert solve(system, torch.zeros(1, 4).double(), Anderson(), tolerance=1e-8).all_converged


# The nonmonotone method measures sufficient decrease in absolute curvature, as published, so it
# cannot take the long steps that small scales need.
@pytest.mark.parametrize(
    ("solver", "scale"),
    [
        (solver, scale)
        for solver in [*DESCENT, Anderson(), FixedPoint()]
        for scale in (1e-6, 1e6)
        if scale > 1 or not isinstance(solver, NonmonotoneAcceleratedGradient)
    ],
    ids=lambda p: getattr(p, "name", p),
)
def test_searched_steps_find_the_scale(solver: Solver, scale: float) -> None:
    root = scale**0.5
    system = random_system(15, phi=QUADRATIC, n=10, k=15)
    system.A, system.y, system.W = root * system.A, root * system.y, root * system.W
    exact = system.newton(start(system), steps=2)
    solution = solve(system, torch.zeros_like(exact), solver, tolerance=1e-7)
    assert solution.all_converged, solution.summary()
    torch.testing.assert_close(solution.x, exact, rtol=1e-4, atol=1e-5)


def test_lbfgs_is_as_efficient_as_scipy_on_a_nearly_nonsmooth_problem() -> None:
    system = random_system(1, phi=huber(1e3), n=100, p=100, k=200, tikhonov=1.0)
    solution = solve(system, start(system), LBFGS(), tolerance=1e-4)
    single = system.to(torch.float32)
    rough = solve(single, start(single), LBFGS(), tolerance=1e-4)
    assert solution.all_converged
    assert rough.all_converged
    for i in range(3):
        _, reference = scipy_minimum(system.one(i), 1e-4)
        assert int(solution.evaluations[i]) <= 1.4 * reference
        assert int(rough.evaluations[i]) <= 1.4 * reference


def test_nonmonotone_line_search_accepts_only_sufficient_decrease() -> None:
    system = random_system(16, phi=SMOOTH, tikhonov=0.1, batch=1)
    solver = NonmonotoneAcceleratedGradient()
    state = solver.start(system, start(system))
    before, average = state.f.clone(), state.c.clone()
    for _ in range(60):
        state = solver.step(system, state)
        f, e = system.potential_and_residual(state.x)
        torch.testing.assert_close(f, state.f)
        torch.testing.assert_close(e, state.e)
        # Potentials may rise, their weighted average may not.
        assert float(state.c) <= float(average) * (1 + 1e-12)
        average = state.c.clone()
    assert float(state.f) < float(before)


@pytest.mark.parametrize("count", [0, 2, 3, 5, 6])
def test_pairs_define_the_dense_bfgs_update(count: int) -> None:
    n, memory = 6, 3
    hessians = [torch.diag(torch.arange(1.0, n + 1)).double(), normal(n, n, seed=1)]
    hessians[1] = hessians[1] @ hessians[1].T + torch.eye(n).double()
    s_all = normal(2, count, n, seed=2)
    s_all[1, 3:4] = 0.0  # a rejected step leaves an empty slot
    pairs = SecantPairs.empty(torch.zeros(2, n).double(), memory)
    for k in range(count):
        y = torch.stack([h @ s for h, s in zip(hessians, s_all[:, k], strict=True)])
        pairs, curvature = pairs.push(s_all[:, k], y)
        torch.testing.assert_close(curvature, (s_all[:, k] * y).sum(1))
    gamma = torch.tensor([0.7, 2.0], dtype=torch.float64)
    e = normal(2, n, seed=3)
    got = pairs.inverse_product(e, gamma, None)
    for b in range(2):
        inverse = gamma[b] * torch.eye(n, dtype=torch.float64)
        for i in range(max(0, count - memory), count):
            step = s_all[b, i]
            bend = hessians[b] @ step
            if not step.any():
                continue
            left = torch.eye(n, dtype=torch.float64) - torch.outer(step, bend) / (step @ bend)
            inverse = left @ inverse @ left.T + torch.outer(step, step) / (step @ bend)
        torch.testing.assert_close(got[b], inverse @ e[b])
        selected = pairs.select(torch.tensor([b]))
        alone = selected.inverse_product(e[b : b + 1], gamma[b : b + 1], None)
        torch.testing.assert_close(alone[0], got[b])


def test_forgotten_pairs_leave_the_initial_inverse_hessian() -> None:
    pairs = SecantPairs.empty(torch.zeros(1, 4).double(), 2)
    pairs, _ = pairs.push(normal(1, 4, seed=0), normal(1, 4, seed=0))
    e, gamma = normal(1, 4, seed=1), torch.tensor([0.3]).double()
    assert not torch.allclose(pairs.inverse_product(e, gamma, None), 0.3 * e)
    empty = pairs.forget(torch.tensor([True]))
    torch.testing.assert_close(empty.inverse_product(e, gamma, None), 0.3 * e)


def test_pairs_without_curvature_do_not_count() -> None:
    pairs = SecantPairs.empty(torch.zeros(2, 4).double(), 3)
    s = normal(2, 4, seed=0)
    pairs, curvature = pairs.push(s, torch.stack([s[0], -s[1]]))
    assert float(curvature[0]) > 0
    assert float(curvature[1]) == 0
    assert pairs.kept[:, 0].tolist() == [1.0, 0.0]


def test_mixing_weights_are_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(2, 3, 9, generator=generator, dtype=torch.float64)
    y = y / y.norm(dim=2, keepdim=True)
    y[1, 2] = 0.0
    g = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    weights = mixing_weights(y, g)
    reference = torch.linalg.lstsq(y[0].T, g[0]).solution
    torch.testing.assert_close(weights[0], reference, rtol=1e-9, atol=1e-9)
    reference = torch.linalg.lstsq(y[1, :2].T, g[1]).solution
    torch.testing.assert_close(weights[1, :2], reference, rtol=1e-9, atol=1e-9)
    assert float(weights[1, 2]) == 0.0


class NoSynchronisation(TorchDispatchMode):
    """Refuse the operations by which tensors reach the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero"), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("solver", [cls() for cls in SOLVERS.values()], ids=lambda s: s.name)
def test_steps_do_not_synchronise(solver: Solver) -> None:
    system = random_system(17, phi=huber(50.0), tikhonov=0.2, n=10, k=20, shift=20.0)
    state = solver.start(system, start(system))
    with NoSynchronisation():
        for _ in range(30):
            state = solver.step(system, state)
    assert bool(torch.isfinite(state.e).all())
    with pytest.raises(AssertionError, match="local_scalar"), NoSynchronisation():
        bool(state.failed.any())
