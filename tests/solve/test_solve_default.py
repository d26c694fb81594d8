"""The default on contractive residual fields: what it is called, and that it is the faster map."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from deepinv.physics import Blur, BlurFFT, Denoising, Inpainting, LinearPhysics

from equipoise import Equation
from equipoise.regularizers import build
from equipoise.solve import Anderson, Resolvent, default_solver, solve

SIZE = 20
TASKS = ("denoising", "inpainting", "blur")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make_physics(task: str) -> LinearPhysics:
    if task == "denoising":
        return Denoising()
    if task == "inpainting":
        mask = (normal(1, SIZE, SIZE, seed=5) > 0).double()
        return Inpainting((1, SIZE, SIZE), mask=mask)
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]).double() / 16
    return BlurFFT(img_size=(1, SIZE, SIZE), filter=kernel[None, None])


@cache
def equation(task: str, alpha: float) -> Equation:
    torch.manual_seed(0)
    regularizer = build("contractive", contraction=0.95, width=8, depth=3).double()
    with torch.no_grad():
        regularizer.log_sharpness.sub_(3.0)  # bend, but do not saturate
    x = torch.nn.functional.interpolate(normal(2, 1, 4, 4), size=SIZE)
    physics = make_physics(task)
    return Equation(
        physics, physics.A(x) + 0.1 * normal(2, 1, SIZE, SIZE, seed=1), regularizer, alpha
    )


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
@pytest.mark.parametrize("alpha", [0.03, 0.3, 3.0])
@pytest.mark.parametrize("task", TASKS)
def test_acceleration_beats_the_resolvent_map(task: str, alpha: float, tolerance: float) -> None:
    system = equation(task, alpha)
    chosen = solve(system, system.adjoint_data, tolerance=tolerance)
    plain = solve(system, system.adjoint_data, Resolvent(), tolerance=tolerance)
    assert chosen.all_converged
    assert plain.all_converged
    assert chosen.solver == "anderson (resolvent)"
    assert plain.solver == "resolvent"
    spent, reference = (int(s.evaluations.max()) for s in (chosen, plain))
    assert spent <= reference + 1
    if task != "denoising" and tolerance == 1e-8:
        assert spent <= 0.7 * reference
    assert chosen.error_bound is not None
    assert plain.error_bound is not None
    distance = (chosen.x - plain.x).flatten(1).norm(dim=1)
    assert bool((distance <= chosen.error_bound + plain.error_bound).all())


def test_without_an_inverse_the_field_itself_is_accelerated() -> None:
    system = equation("denoising", 0.3)
    physics = Blur(filter=torch.ones(1, 1, 3, 3).double() / 9, padding="circular")
    other = Equation(physics, system.y, system.regularizer, 0.3)
    assert isinstance(default_solver(other), Anderson)
    solution = solve(other, other.adjoint_data, tolerance=1e-6)
    assert solution.all_converged
    assert solution.solver == "anderson"
