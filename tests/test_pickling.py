"""Equations, problems, solutions and models in other processes and as copies."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepinv
import pytest
import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.equation import Equation
from equipoise.portable import portable
from equipoise.problems import (
    Problem,
    deblur,
    denoise,
    from_physics,
    inpaint,
    load_user_physics,
    tomography,
)
from equipoise.reconstructor import EquilibriumReconstructor
from equipoise.regularizers import build
from equipoise.solve import solve
from equipoise.status import Solution

SHAPE = (1, 8, 8)
Again = Callable[[Any], Any]


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def blur(image_shape: tuple[int, ...]) -> LinearPhysics:
    return deepinv.physics.Blur(filter=torch.ones(1, 1, 3, 3) / 9, padding="circular")


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "denoise": lambda: denoise(SHAPE),
    "inpaint": lambda: inpaint(SHAPE, "rows:0.5"),
    "own mask": lambda: inpaint(SHAPE, torch.eye(8)),
    "deblur": lambda: deblur(SHAPE, "gaussian:0.5"),
    "valid blur": lambda: deblur(SHAPE, "motion:3", padding="valid"),
    "tomography": lambda: tomography(SHAPE, 5),
    "physics": lambda: from_physics(deepinv.physics.Denoising(), SHAPE, sigma=0.1),
    "function": lambda: from_physics(blur, SHAPE, sigma=0.1),
    "compressed sensing": lambda: from_physics(
        deepinv.physics.CompressedSensing(m=20, img_size=SHAPE), SHAPE, sigma=0.1
    ),
}


def measure(problem: Problem, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return problem.measure(torch.rand(2, *problem.image_shape, generator=generator), generator)


@pytest.fixture(params=[pickled, copy.deepcopy], ids=["pickle", "deepcopy"])
def again(request: pytest.FixtureRequest) -> Again:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems(name: str, again: Again) -> None:
    problem = PROBLEMS[name]()
    y = measure(problem)
    start = problem.start(y)  # by now physics remember whatever they remember
    other = again(problem)
    assert other is not problem
    assert other.physics is not problem.physics
    assert other.description == problem.description
    assert torch.equal(measure(other), y)
    assert torch.equal(other.start(y), start)
    assert torch.equal(other.physics.A_adjoint(y), problem.physics.A_adjoint(y))
    if name not in ("physics", "compressed sensing", "own mask"):
        larger = other.for_shape((1, 12, 10))
        assert torch.equal(measure(larger), measure(problem.for_shape((1, 12, 10))))
    assert type(again(other).physics) is type(problem.physics)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_equations(name: str, again: Again, used: bool) -> None:
    problem = PROBLEMS[name]()
    torch.manual_seed(0)
    regularizer = build("crr", filters=(2, 4), kernel_size=3)
    y, alpha = measure(problem), torch.tensor([0.1, 0.2])
    equation = Equation(problem.physics, y, regularizer, alpha)
    if used:
        solve(equation, equation.adjoint_data, tolerance=1e-3)
    other = again(equation)
    x = problem.start(y)
    assert torch.equal(other.residual(x), equation.residual(x))
    assert torch.equal(other.scale, equation.scale)
    assert other.modulus == equation.modulus
    assert other.regularizer is not regularizer
    ours, theirs = (solve(e, x, tolerance=1e-3) for e in (other, equation))
    assert torch.equal(ours.x, theirs.x)
    solution = again(ours)
    assert torch.equal(solution.x, ours.x)
    assert solution.statuses == ours.statuses
    with torch.no_grad():  # nothing is shared with the copy
        next(other.regularizer.parameters()).add_(1.0)
    assert torch.equal(
        Equation(problem.physics, y, regularizer, alpha).residual(x), equation.residual(x)
    )


def test_what_was_computed_is_computed_again_for_the_copy() -> None:
    """A pickle holds the parts alone, so that it is as small and as right as they are."""
    problem = denoise(SHAPE)
    equation = Equation(problem.physics, measure(problem), build("tikhonov"), 0.1)
    size = len(pickle.dumps(equation))
    solve(equation, equation.adjoint_data)
    assert len(pickle.dumps(equation)) == size


def test_gradients_and_fidelities_survive(again: Again) -> None:
    problem = denoise(SHAPE)
    y, alpha = measure(problem).requires_grad_(), torch.tensor(0.1, requires_grad=True)
    fidelity = deepinv.optim.PoissonLikelihood(gain=0.1, bkg=3.0)
    equation = Equation(problem.physics, y, build("crr"), alpha, fidelity)
    other = again(equation)
    x = problem.start(y)
    ours, theirs = (
        torch.autograd.grad(e.differentiable_residual(x).square().sum(), [e.y, e.alpha])
        for e in (other, equation)
    )
    assert all(map(torch.equal, ours, theirs))


def test_models(again: Again) -> None:
    problem = tomography(SHAPE, 5)
    model = EquilibriumReconstructor(build("contractive", width=4, depth=2), 0.1)
    y = measure(problem)
    x = model(y, problem.physics)
    other = again(model)
    assert other.last_solution is None
    assert torch.equal(other(y, problem.physics), x)


def test_deepinv_s_own_tomograph_is_no_hindrance(again: Again) -> None:
    physics = deepinv.physics.Tomography(
        angles=5, img_width=8, normalize=False, adjoint_via_backprop=True
    )
    y = physics.A(torch.rand(1, *SHAPE))
    equation = Equation(physics, y, build("tikhonov"), 0.1)
    image = equation.adjoint_data
    assert torch.equal(again(equation).adjoint_data, image)
    assert torch.equal(physics.A_adjoint(y), image)  # and it still knows its adjoint


def test_a_user_s_own_function_is_pickle_s_business() -> None:
    physics = LinearPhysics(A=lambda x: 2.0 * x, A_adjoint=lambda y: 2.0 * y)
    equation = Equation(physics, torch.ones(1, *SHAPE), build("tikhonov"), 0.1)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(equation)
    copied = copy.deepcopy(equation)
    assert torch.equal(copied.adjoint_data, equation.adjoint_data)


def test_portable_copies_share_tensors_and_leave_the_original_alone() -> None:
    physics = deepinv.physics.Inpainting(SHAPE, mask=torch.eye(8)[None, None])
    before = physics.noise_model.noise_model
    twin = portable(physics)
    assert physics.noise_model.noise_model is before
    assert twin.mask.data_ptr() == physics.mask.data_ptr()
    noise = torch.rand(1, *SHAPE)
    assert torch.equal(twin.noise_model(noise), physics.noise_model(noise))


def test_the_operator_that_a_command_line_names(tmp_path: Path) -> None:
    file = tmp_path / "scanner.py"
    file.write_text("import deepinv\n\ndef half():\n    return deepinv.physics.Denoising()\n")
    factory = load_user_physics(f"{file}:half")
    problem = pickled(from_physics(factory, SHAPE, sigma=0.1))
    assert problem.for_shape((1, 4, 4)).image_shape == (1, 4, 4)


def _solved(equation: Equation, problem: Problem) -> tuple[Solution, Equation, Problem]:
    return solve(equation, problem.start(equation.y), tolerance=1e-4), equation, problem


def test_another_process_solves_and_sends_back() -> None:
    problem = deblur(SHAPE, "motion:3")
    equation = Equation(problem.physics, measure(problem), build("tv", epsilon=0.1), 0.05)
    expected, *_ = _solved(equation, problem)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        solution, equation, problem = pool.apply(_solved, (equation, problem))
    torch.testing.assert_close(solution.x, expected.x)
    assert solution.statuses == expected.statuses
    torch.testing.assert_close(_solved(equation, problem)[0].x, expected.x)
