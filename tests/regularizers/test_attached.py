"""The field for one reverse pass against the field with its graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.regularizers import Regularizer, Tikhonov, build, tiles
from field_cases import BUDGETS, CASES, distance, regularizer


@pytest.fixture(params=list(BUDGETS))
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tiles, "CACHE", BUDGETS[request.param])
    return str(request.param)


def derivatives(r: Regularizer, value: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Derivatives of ``<R(x), q>`` for a fixed q by x and all parameters."""
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
    named = dict(r.named_parameters())
    found = torch.autograd.grad(value, [x, *named.values()], q, allow_unused=True)
    return {
        name: gradient
        for name, gradient in zip(["x", *named], found, strict=True)
        if gradient is not None
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("budget")
def test_derivatives_agree_with_those_of_the_formula(case: str) -> None:
    r, x = regularizer(case, torch.float64)
    x.requires_grad_()
    value, plain = r.attached(x), r.field(x)
    assert distance(value, plain) < 1e-12
    ours, theirs = derivatives(r, value, x), derivatives(r, plain, x)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(ours[name], gradient, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("case", ["chain", "student-t", "untied pair"])
def test_single_precision_agrees_with_double(case: str) -> None:
    r, x = regularizer(case, torch.float32)
    single = derivatives(r, r.attached(x.requires_grad_()), x)
    double = r.double()
    wide = x.detach().double().requires_grad_()
    exact = derivatives(double, double.field(wide), wide)
    for name in exact.keys() - {"x"}:  # single pixels at kinks may differ
        error = (single[name].double() - exact[name]).norm() / exact[name].norm()
        assert float(error) < 1e-4, name


def test_parameters_that_are_held_fixed_get_no_derivative() -> None:
    r, x = regularizer("chain", torch.float64)
    r.profile.log_slope.requires_grad_(False)  # type: ignore[union-attr]
    r.attached(x).sum().backward()
    assert r.profile.log_slope.grad is None  # type: ignore[union-attr]
    assert r.profile.log_scale.grad is not None  # type: ignore[union-attr]


def test_no_graph_where_nothing_needs_one() -> None:
    r, x = regularizer("chain", torch.float64)
    assert not r.requires_grad_(False).attached(x).requires_grad
    assert not Tikhonov().attached(x).requires_grad
    assert build("crr").attached(x.float()).requires_grad


def test_second_derivatives_are_refused() -> None:
    r, x = regularizer("student-t", torch.float64)
    x.requires_grad_()
    (first,) = torch.autograd.grad(r.attached(x).square().sum(), x, create_graph=True)
    with pytest.raises(InputError, match="differentiable once"):
        first.sum().backward()
