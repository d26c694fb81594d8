"""The default adjoint is as accurate as the forward solve deserves, and no more (Theorem 9)."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from deepinv.physics import Denoising
from equilibria import normal, relative
from torch import Tensor

from equipoise import Equation, EquilibriumReconstructor, SolveOptions
from equipoise.bounds import proved
from equipoise.differentiate import (
    Adjoint,
    BackwardRecord,
    KrylovAdjoint,
    NeumannAdjoint,
    attach_gradient,
    default_adjoint,
    matched_tolerance,
)
from equipoise.fields import Traits
from equipoise.linear import ConjugateGradients
from equipoise.regularizers import Regularizer, build
from equipoise.regularizers.base import Constants
from equipoise.solve import solve

SHAPE = (2, 1, 24, 20)


@cache
def regularizer() -> Regularizer:
    """Nearly absolute values of filter responses, as learned ones are."""
    torch.manual_seed(0)
    field = build("ridge", filters=(2, 4), kernel_size=3).double()
    with torch.no_grad():
        field.profile.log_slope.fill_(5.0)
    return field


class Opposite(Regularizer):
    """``R(x) = -x``: the best c of the resolvent is 0, so that there is none."""

    gradient_field = True

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return -x

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(-1.0), lipschitz=proved(1.0))


def test_neumann_series_without_a_resolvent_start_with_the_best_certified_step() -> None:
    equation = Equation(Denoising(), normal(2, 1, 4, 4, seed=0), Opposite(), 0.6)
    g = normal(2, 1, 4, 4, seed=1)
    assert equation.resolvent() is None
    found = NeumannAdjoint().solve(equation, g, lambda v: 0.4 * v, g, None)
    # m = 1 - 0.6, L_E = 1 + 0.6
    torch.testing.assert_close(found.x, 2.0 / (0.4 + 1.6) * g, rtol=1e-5, atol=0)


def truth() -> Tensor:
    return torch.nn.functional.interpolate(normal(2, 1, 4, 4, seed=0), size=SHAPE[2:])


def equation(dtype: torch.dtype = torch.float64) -> Equation:
    y = truth() + 0.1 * normal(*SHAPE, seed=1)
    return Equation(Denoising(), y.to(dtype), regularizer().to(dtype), 1.0)


def hypergradient(
    x: Tensor, adjoint: Adjoint | None, record: BackwardRecord | None = None
) -> Tensor:
    attached = attach_gradient(equation(), x, adjoint, on_failure="error", record=record)
    loss = 0.5 * (attached - truth()).square().sum()
    parts = torch.autograd.grad(loss, list(regularizer().parameters()))
    return torch.cat([part.flatten() for part in parts])


def exactly(tolerance: float) -> KrylovAdjoint:
    return KrylovAdjoint(ConjugateGradients(tolerance=tolerance, max_products=5000))


@cache
def converged() -> Tensor:
    return solve(equation(), equation().y, tolerance=1e-11, max_evaluations=5000).x


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5])
def test_the_adjoint_does_not_dominate_the_error(tolerance: float) -> None:
    solution = solve(equation(), equation().y, tolerance=tolerance)
    record = BackwardRecord()
    default = hypergradient(solution.x, None, record)
    best = hypergradient(solution.x, exactly(1e-12))
    forward = relative(best, hypergradient(converged(), exactly(1e-12)))
    assert relative(default, best) < forward
    # A loose adjoint would dominate: the comparison can fail.
    assert relative(hypergradient(solution.x, exactly(0.5)), best) > forward
    assert record.last is not None
    assert record.last.tolerance == pytest.approx(float(solution.relative_residual.min()))


def test_a_loose_forward_solve_saves_products() -> None:
    spent = []
    for tolerance in (1e-2, 1e-4, 1e-8):
        record = BackwardRecord()
        x = solve(equation(), equation().y, tolerance=tolerance, max_evaluations=5000).x
        hypergradient(x, None, record)
        assert record.last is not None
        spent.append(int(record.last.evaluations.max()))
    assert spent[0] < 0.7 * spent[1]
    assert spent[1] < 0.7 * spent[2]


@pytest.mark.parametrize(
    ("size", "dtype", "expected"),
    [
        (0.5, torch.float64, 1e-2),
        (3e-4, torch.float64, 3e-4),
        (0.0, torch.float64, 1e-10),
        (0.0, torch.float32, 1e-5),
        (float("nan"), torch.float32, 1e-5),
    ],
)
def test_it_stays_within_what_makes_sense(size: float, dtype: torch.dtype, expected: float) -> None:
    system = equation(dtype)
    unit = system.y / system.y.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    scale = system.scale.reshape(-1, 1, 1, 1) * torch.tensor([1.0, 7.0], dtype=dtype).reshape(
        -1, 1, 1, 1
    )
    assert matched_tolerance(system, size * scale * unit) == pytest.approx(expected, rel=1e-6)


def test_float32_asks_for_what_it_can_reach() -> None:
    system = equation(torch.float32)
    x = solve(system, system.y, tolerance=1e-5).x
    product = system.linearize(x).vjp
    g = x - truth().float()
    solution = default_adjoint(system).solve(system, x, product, g, None)
    assert solution.all_converged, solution.summary()
    true = (product(solution.x) - g).flatten(1).norm(dim=1) / g.flatten(1).norm(dim=1)
    assert bool((true <= 1.1e-5).all())


def test_the_reconstructor_ties_both_tolerances() -> None:
    y = equation().y
    for tolerance in (1e-2, 1e-5):
        model = EquilibriumReconstructor(
            regularizer(), options=SolveOptions(tolerance=tolerance), on_failure="error"
        )
        model(y, Denoising()).square().sum().backward()
        assert model.last_backward is not None
        assert model.last_backward.last is not None
        asked = model.last_backward.last.tolerance
        assert 0.01 * tolerance < asked <= tolerance
    explicit = EquilibriumReconstructor(regularizer(), adjoint=exactly(1e-7))
    explicit(y, Denoising()).square().sum().backward()
    assert explicit.last_backward is not None
    assert explicit.last_backward.last is not None
    assert explicit.last_backward.last.tolerance == 1e-7
