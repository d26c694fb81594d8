"""What a state sees, and that it can be put back, shared, copied and saved."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from deepinv.physics import (
    Inpainting,
)
from torch import Tensor

from equipoise import physics_state
from equipoise.equation import Equation
from equipoise.errors import InputError
from equipoise.physics_state import State
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import Tikhonov
from equipoise.solve import solve
from small_problems import field, normal

SHAPE = (2, 1, 6, 6)
TIGHT = SolveOptions(tolerance=1e-12, max_evaluations=20_000)


def mask(seed: int, channels: int = 1) -> Tensor:
    return (normal(1, channels, 6, 6, seed=seed) > -0.3).double()


def model_of(regularizer: str, **options: Any) -> EquilibriumReconstructor:
    alpha = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    return EquilibriumReconstructor(field(regularizer), alpha, options=TIGHT, **options)


def test_a_state_sees_containers_closures_and_objects() -> None:
    class Holder:
        def __init__(self) -> None:
            self.weights = torch.ones(2)

    def function_over(value: Tensor) -> Callable[[], Tensor]:
        def inner() -> Tensor:
            return value

        return inner

    value = torch.ones(2)
    module = torch.nn.Module()
    module.parts = {"a": [torch.ones(2), (torch.ones(2), 3)]}
    module.function, module.holder = function_over(value), Holder()
    changes: list[Callable[[], object]] = [
        lambda: module.parts["a"][0].add_(1),
        lambda: module.parts["a"][1][0].add_(1),
        lambda: module.parts["a"].append(1),
        lambda: module.parts.update(b=1),
        lambda: value.add_(1),
        lambda: setattr(module.function.__closure__[0], "cell_contents", torch.ones(2)),
        lambda: module.holder.weights.mul_(2),
        lambda: setattr(module.holder, "weights", torch.ones(2)),
        lambda: setattr(module, "later", 1),
        lambda: module.eval(),
    ]
    for change in changes:
        state = State({"module": module})
        assert state.holds()
        change()
        assert not state.holds()


def test_a_state_is_put_back_and_left_again() -> None:
    module = torch.nn.Module()
    module.items, module.number = [1, 2], 3
    cell_of = (lambda box: lambda: box)(4)
    module.function = cell_of
    state, items = State({"module": module}), module.items
    module.number, module.new = 5, 6
    items.append(7)
    cell_of.__closure__[0].cell_contents = 8
    with state.restored():
        assert (module.number, items, hasattr(module, "new"), cell_of()) == (3, [1, 2], False, 4)
    assert (module.number, items, module.new, cell_of()) == (5, [1, 2, 7], 6, 8)


def test_threads_that_share_an_unchanged_physics_never_swap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(physics_state._Content, "write", lambda self: pytest.fail("swapped"))
    operator, y = Inpainting(SHAPE[1:], mask=mask(7)), normal(*SHAPE)
    results: dict[int, Tensor] = {}

    def work(k: int) -> None:
        model = model_of("tied-conv")
        model(y, operator).square().sum().backward()
        results[k] = model.alpha.grad

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work(4)
    assert all(torch.equal(results[k], results[4]) for k in range(4))


def test_physics_can_be_copied_and_saved() -> None:
    operator = Inpainting(SHAPE[1:], mask=mask(7))
    y = operator.A(normal(*SHAPE))
    equation = Equation(operator, y, Tikhonov("gradient"), 0.5)
    expected = solve(equation, y).x
    for other in (
        copy.deepcopy(operator),
        copy.copy(operator),
        operator.clone(),
    ):
        Equation(other, y, Tikhonov("gradient"), 0.5).check_unchanged()
    (key,) = (k for k in vars(operator) if "equipoise" in k)
    saved = pickle.dumps(vars(operator)[key])
    assert b"equipoise" not in saved  # files of a physics can be read without this package
    other = copy.copy(operator)
    vars(other)[key] = pickle.loads(saved)
    Equation(other, y, Tikhonov("gradient"), 0.5).check_unchanged()
    copied = copy.deepcopy(equation)
    torch.testing.assert_close(solve(copied, y).x, expected)
    operator.update(mask=mask(8))
    copied.check_unchanged()  # its physics is another one
    with pytest.raises(InputError):
        equation.check_unchanged()
