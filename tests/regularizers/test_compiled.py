"""Pointwise work by ``torch.compile`` against the plain passes, and without a compiler."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from equipoise import Equation, UsageError, use_compiler
from equipoise.convolutions import compiling, huber, tiles
from equipoise.problems import denoise
from equipoise.regularizers import build
from equipoise.solve import solve
from field_cases import BUDGETS, distance, regularizer

RIDGES = ["chain", "weakly convex chain", "periodic chain", "colour chain", "signals", "volumes"]
FUSED = [
    huber.compiled_energies_and_slope,
    huber.compiled_slope,
    huber.compiled_curvature,
]

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="there is no C++ compiler for torch.compile",
)


@pytest.fixture(autouse=True)
def switched_back() -> Iterator[None]:
    yield
    use_compiler(None)
    torch.compiler.reset()
    for function in FUSED:
        function._broken, function._compiled = False, None


@pytest.fixture(params=list(BUDGETS))
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tiles, "CACHE", BUDGETS[request.param])
    return str(request.param)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("case", RIDGES)
@pytest.mark.usefixtures("budget")
def test_compiled_and_plain_agree(case: str, dtype: torch.dtype, within: float) -> None:
    r, x = regularizer(case, dtype)
    frozen, v = r.frozen(), torch.randn_like(x)
    use_compiler(False)
    value, field = frozen.potential_and_value(x)
    alone, plain = frozen.value(x), frozen.linearize(x)
    kernels = frozen.local_kernels(x)
    use_compiler(True)
    frozen = r.frozen()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fast_value, fast_field = frozen.potential_and_value(x)
        fast_alone, fast = frozen.value(x), frozen.linearize(x)
        fast_kernels = frozen.local_kernels(x)
    assert huber.compiled_energies_and_slope._compiled is not None
    torch.testing.assert_close(fast_value, value, rtol=within, atol=0)
    assert distance(fast_field, field) < within
    assert distance(fast_alone, alone) < within
    assert distance(fast.jvp(v), plain.jvp(v)) < within
    assert kernels is not None
    assert fast_kernels is not None
    torch.testing.assert_close(fast_kernels.kernels, kernels.kernels)


@needs_compiler
@pytest.mark.slow
def test_sizes_and_batches_share_what_was_compiled() -> None:
    counters = torch._dynamo.utils.counters["stats"]
    counters.clear()
    use_compiler(True)
    frozen = build("wcrr", filters=(4, 16)).frozen()
    for batch in (1, 2, 5, 8):
        for size in ((40, 40), (41, 37), (200, 210), (1, 64)):
            frozen.potential_and_value(torch.rand(batch, 1, *size))
    assert 1 <= counters["unique_graphs"] <= 2


@needs_compiler
@pytest.mark.slow
def test_too_many_kinds_end_compiling_with_a_warning() -> None:
    use_compiler(True)
    r, x = regularizer("chain", torch.float64)
    with torch._dynamo.config.patch(recompile_limit=1):
        wide = r.frozen().value(x)
        r, x = r.float(), x.float()
        with pytest.warns(RuntimeWarning, match="goes on without it"):
            narrow = r.frozen().value(x)
    assert distance(narrow, wide) < 1e-5


@needs_compiler
@pytest.mark.slow
def test_a_compiled_solve_ends_where_the_plain_one_does() -> None:
    torch.manual_seed(0)
    regularizer = build("crr", filters=(4, 16))
    problem = denoise((1, 40, 37), sigma=0.1)
    y = problem.measure(torch.rand(3, 1, 40, 37), torch.Generator().manual_seed(0))
    plain = solve(Equation(problem.physics, y, regularizer, 0.5), y, tolerance=1e-5)
    use_compiler(True)
    fast = solve(Equation(problem.physics, y, regularizer, 0.5), y, tolerance=1e-5)
    assert plain.all_converged
    assert fast.all_converged
    assert plain.error_bound is not None
    assert fast.error_bound is not None
    apart = (plain.x - fast.x).flatten(1).norm(dim=1)
    assert bool((apart <= plain.error_bound + fast.error_bound).all())


def test_a_compiler_that_fails_is_said_once_and_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        def call(*arguments: Any) -> Any:
            raise RuntimeError("no compiler here")

        return call

    for function in FUSED:
        monkeypatch.setattr(function, "_compiled", None)
    monkeypatch.setattr(torch, "compile", refuse)
    r, x = regularizer("weakly convex chain", torch.float64)
    frozen = r.frozen()
    value, field = frozen.potential_and_value(x)
    use_compiler(True)
    frozen = r.frozen()
    with pytest.warns(RuntimeWarning, match="torch.compile failed"):
        again = frozen.potential_and_value(x)
    torch.testing.assert_close(again, (value, field), rtol=0, atol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frozen.potential_and_value(x)


def test_the_environment_and_the_device_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.delenv(compiling.VARIABLE, raising=False)
    assert not compiling.compiling(cpu)
    assert compiling.compiling(cuda)
    monkeypatch.setenv(compiling.VARIABLE, "1")
    assert compiling.compiling(cpu)
    monkeypatch.setenv(compiling.VARIABLE, "0")
    assert not compiling.compiling(cuda)
    use_compiler(True)
    assert compiling.compiling(cuda)
    use_compiler(None)
    monkeypatch.setenv(compiling.VARIABLE, "yes")
    with pytest.raises(UsageError, match="must be 1 or 0, got 'yes'"):
        compiling.compiling(cpu)
