"""Threads that share regularisers, physics, equations and reconstructors get the serial numbers."""

from __future__ import annotations

import copy
import io
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import torch
from deepinv.physics import adjoint_function
from torch import Tensor

from equipoise.certify import certify
from equipoise.convolutions.norm import convolution_norm
from equipoise.convolutions.precision import without_tf32
from equipoise.differentiate import attach_gradient
from equipoise.equation import Equation
from equipoise.problems import Problem, deblur, denoise, tomography
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import Regularizer, build
from equipoise.solve import solve

THREADS, CALLS = 4, 2
T = TypeVar("T")

PROBLEMS: dict[str, tuple[Problem, str, dict[str, Any]]] = {
    "noise, untied": (denoise((1, 9, 8), dtype=torch.float64), "untied-conv", {"filters": 4}),
    "blur, ridge": (deblur((1, 11, 10), dtype=torch.float64), "crr", {"filters": (2, 6)}),
    "rays, contractive": (
        tomography((1, 6, 6), 5, dtype=torch.float64),
        "contractive",
        {"width": 4, "depth": 2},
    ),
}


def together(work: Callable[[int], T], count: int = THREADS) -> list[T]:
    """Call a function in so many threads, which start at the same time."""
    barrier = threading.Barrier(count)

    def one(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def setting(name: str) -> tuple[Problem, Regularizer, list[Tensor]]:
    """A problem, a regulariser, and measurements of another batch size for each thread."""
    problem, kind, arguments = PROBLEMS[name]
    torch.manual_seed(0)
    regularizer = build(kind, **arguments).double()
    generator = torch.Generator().manual_seed(1)
    measured = []
    for number in range(THREADS):
        x = torch.rand(1 + number % 3, *problem.image_shape, generator=generator).double()
        measured.append(problem.measure(x, generator))
    return problem, regularizer, measured


def same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", PROBLEMS)
def test_reconstructors_are_shared(name: str) -> None:
    problem, regularizer, measured = setting(name)
    options = SolveOptions(tolerance=1e-5)
    model = EquilibriumReconstructor(regularizer, 0.1, options=options, on_failure="raise")

    def work(number: int) -> list[list[Tensor]]:
        found = []
        for _ in range(CALLS):
            y = measured[number].clone().requires_grad_()
            x = model(y, problem.physics)
            assert model.last_solution is not None
            assert torch.equal(model.last_solution.x, x)
            gradients = torch.autograd.grad(x.square().sum(), [y, *regularizer.parameters()])
            assert model.last_backward is not None
            assert model.last_backward.last is not None
            assert len(model.last_backward.last.x) == len(y)
            found.append([x.detach(), *gradients])
        return found

    serial = [work(number)[0] for number in range(THREADS)]
    for number, calls in enumerate(together(work)):
        for found in calls:
            same(found, serial[number])


@pytest.mark.parametrize("name", PROBLEMS)
def test_one_equation_is_shared(name: str) -> None:
    """All threads ask a new equation for everything at once."""
    problem, regularizer, measured = setting(name)

    def work(equation: Equation) -> list[Tensor]:
        solution = solve(equation, equation.adjoint_data, tolerance=1e-5)
        x = attach_gradient(equation, solution.x, on_failure="raise")
        gradients = torch.autograd.grad(x.square().sum(), list(regularizer.parameters()))
        certificate = certify(equation, seed=3)
        numbers = [s.value for section in certificate.sections for s in section.statements]
        values = [float("nan") if n is None else float(n) for n in numbers]
        known = torch.nan_to_num(torch.tensor(values, dtype=torch.float64), posinf=-1.0)
        assert equation.modulus is not None
        return [solution.x, *gradients, known, torch.tensor(equation.modulus.value)]

    y = measured[2]
    serial = work(Equation(problem.physics, y, regularizer, 0.1))
    shared = Equation(problem.physics, y, regularizer, 0.1)
    for found in together(lambda number: work(shared)):
        same(found, serial)


def test_gradients_add_up_in_shared_parameters() -> None:
    problem, regularizer, measured = setting("blur, ridge")
    model = EquilibriumReconstructor(regularizer, 0.1, options=SolveOptions(tolerance=1e-5))

    def work(number: int) -> None:
        model(measured[number], problem.physics).square().sum().backward()

    for number in range(THREADS):
        work(number)
    expected = [p.grad for p in regularizer.parameters()]
    regularizer.zero_grad(set_to_none=True)
    together(work)
    same([p.grad for p in regularizer.parameters()], expected)  # type: ignore[misc]


def test_norms_of_convolutions() -> None:
    """More filters than are remembered, so that memories are changed all the time."""
    regularizer = build("crr", filters=(3, 8))
    operator = regularizer.operator
    taps = [torch.randn(4, 2, 3, 3, dtype=torch.float64) for _ in range(30)]
    serial = [float(convolution_norm(w)) for w in taps]

    def work(number: int) -> list[float]:
        order = [(k + 7 * number) % len(taps) for k in range(len(taps))]
        found = {k: operator.norm((taps[k],)) for _ in range(3) for k in order}
        return [found[k] for k in range(len(taps))]

    for found in together(work):
        assert found == serial


def test_reports_belong_to_the_thread_and_not_to_copies() -> None:
    problem, regularizer, measured = setting("blur, ridge")
    model = EquilibriumReconstructor(regularizer, 0.1, on_failure="ignore")
    model(measured[0], problem.physics)
    mine = model.last_solution
    assert mine is not None

    def elsewhere(number: int) -> tuple[bool, int]:
        before = model.last_solution is None and model.last_backward is None
        return before, len(model.solve(measured[2], problem.physics).x)

    assert together(elsewhere, 2) == [(True, 3)] * 2
    assert model.last_solution is mine
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert other.last_solution is None
        assert torch.equal(other(measured[0], problem.physics), mine.x)
        assert other.last_solution is not None


def test_back_projections_are_remembered_for_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """deepinv remembers one for all threads, so that one thread may get another's batch size."""
    physics = tomography((1, 6, 6), 5).physics
    made: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(args[1][0])
        return adjoint_function(*args, **kwargs)

    for module in ("equipoise.problems.tomography", "deepinv.physics.tomography"):
        monkeypatch.setattr(sys.modules[module], "adjoint_function", counted)
    one, two = (physics.A(torch.rand(size, 1, 6, 6)) for size in (1, 2))
    first = physics.A_adjoint(one)
    other = together(lambda number: physics.A_adjoint(two), 1)[0]
    assert len(other) == 2
    assert torch.equal(physics.A_adjoint(one), first)
    assert made == [1, 2]


def test_tf32_stays_off_until_the_last_thread_has_left() -> None:
    convolutions: Any = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with without_tf32(torch.device("cuda")):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with without_tf32(torch.device("cuda")):
        leave.set()
        thread.join()
        assert convolutions.fp32_precision == "ieee"
    assert convolutions.fp32_precision == before
