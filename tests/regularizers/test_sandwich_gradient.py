"""The reverse pass that keeps no features, and the passes through it, against the formula."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from equipoise.convolutions import tiles
from equipoise.convolutions.sandwich_gradient import Layers
from equipoise.regularizers import Regularizer, Tikhonov, build
from field_cases import BUDGETS, CASES, distance, regularizer

#: Fields whose reverse pass is not the formula's.
FAST = ["chain", "periodic chain", "gray on colour", "student-t", "splines", "untied pair"]


@pytest.fixture(params=list(BUDGETS))
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tiles, "CACHE", BUDGETS[request.param])
    return str(request.param)


@contextmanager
def formula() -> Iterator[None]:
    """Evaluate fields by their formula, with its graph."""
    with pytest.MonkeyPatch.context() as patch:
        name = "equipoise.regularizers.operators.sandwiched"
        patch.setattr(name, lambda x, layers: layers.formula(x))
        yield


def derivatives(r: Regularizer, value: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Derivatives of ``<R(x), q>`` for a fixed q by x and all parameters."""
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
    named = dict(r.named_parameters())
    sources = [x, *named.values()] if x.requires_grad else list(named.values())
    names = ["x", *named] if x.requires_grad else list(named)
    found = torch.autograd.grad(value, sources, q, allow_unused=True)
    return {n: gradient for n, gradient in zip(names, found, strict=True) if gradient is not None}


@pytest.mark.parametrize("moving", [True, False], ids=["by x too", "by parameters"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("budget")
def test_derivatives_agree_with_those_of_the_formula(case: str, moving: bool) -> None:
    r, x = regularizer(case, torch.float64)
    x.requires_grad_(moving)
    value = r.field(x)
    with formula():
        plain = r.field(x)
    assert distance(value, plain) < 1e-12
    if not value.requires_grad:
        assert not plain.requires_grad
        return
    ours, theirs = derivatives(r, value, x), derivatives(r, plain, x)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(ours[name], gradient, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("case", FAST)
def test_derivatives_by_the_image_alone(case: str) -> None:
    r, x = regularizer(case, torch.float64)
    r.requires_grad_(False)
    q = torch.randn_like(x)
    x.requires_grad_()
    (ours,) = torch.autograd.grad(r.field(x), x, q)
    assert distance(ours, r.linearize(x.detach()).vjp(q)) < 1e-12


@pytest.mark.parametrize("case", ["chain", "student-t", "untied pair"])
def test_single_precision_agrees_with_double(case: str) -> None:
    r, x = regularizer(case, torch.float32)
    single = derivatives(r, r.field(x.requires_grad_()), x)
    double = r.double()
    wide = x.detach().double().requires_grad_()
    with formula():
        exact = derivatives(double, double.field(wide), wide)
    for name in exact.keys() - {"x"}:  # single pixels at kinks may differ
        error = (single[name].double() - exact[name]).norm() / exact[name].norm()
        assert float(error) < 1e-4, name


def test_no_features_are_kept_between_the_passes() -> None:
    r, x = regularizer("chain", torch.float64)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        r.field(x)
    channels = 8  # what the last convolution of L sees
    assert max(kept) <= channels * x.numel()


def test_parameters_that_are_held_fixed_get_no_derivative() -> None:
    r, x = regularizer("chain", torch.float64)
    r.profile.log_slope.requires_grad_(False)  # type: ignore[union-attr]
    r.field(x).sum().backward()
    assert r.profile.log_slope.grad is None  # type: ignore[union-attr]
    assert r.profile.log_scale.grad is not None  # type: ignore[union-attr]


def test_what_is_held_fixed_after_the_forward_pass_changes_nothing() -> None:
    r, x = regularizer("splines", torch.float64)
    x, q = x.requires_grad_(), torch.randn_like(x)
    (expected,) = torch.autograd.grad(r.field(x), x, q)
    value = r.field(x)
    r.requires_grad_(False)
    (found,) = torch.autograd.grad(value, x, q)
    assert torch.equal(found, expected)


def test_no_graph_where_nothing_needs_one() -> None:
    r, x = regularizer("chain", torch.float64)
    assert not r.requires_grad_(False).field(x).requires_grad
    assert not Tikhonov().field(x).requires_grad
    assert build("crr").field(x.float()).requires_grad


# ---- second derivatives --------------------------------------------------------------------------


def twice(r: Regularizer, x: Tensor) -> dict[str, Tensor]:
    """Derivatives, by x and all parameters, of the norm of all first derivatives."""
    q = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    q, x = q.requires_grad_(), x.detach().requires_grad_()
    sources = {"x": x, "q": q, **dict(r.named_parameters())}
    value = r.field(x.sin())  # x is no leaf, as in a composition
    options = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
    first = torch.autograd.grad(value, [x, *r.parameters()], q, **options)
    total = sum((part * part).sum() for part in first)
    second = torch.autograd.grad(total, list(sources.values()), allow_unused=True)
    return {n: g for n, g in zip(sources, second, strict=True) if g is not None}


@pytest.mark.parametrize("case", FAST)
def test_second_derivatives_are_those_of_the_formula(case: str) -> None:
    r, x = regularizer(case, torch.float64)
    ours = twice(r, x)
    with formula():
        theirs = twice(r, x)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(ours[name], gradient, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("tied", [True, False])
def test_second_derivatives_agree_with_finite_differences(tied: bool) -> None:
    torch.manual_seed(0)
    r = build("tied-conv" if tied else "untied-conv", filters=2, kernel_size=3).double()
    x = torch.rand(1, 1, 4, 3, dtype=torch.float64, requires_grad=True)
    weights = [w.detach().requires_grad_() for w in r.constants()]
    with torch.no_grad():
        r.bias.normal_()

    def field(x: Tensor, *constants: Tensor) -> Tensor:
        return r.field(x, constants)

    assert torch.autograd.gradcheck(field, (x, *weights))
    assert torch.autograd.gradgradcheck(field, (x, *weights))


# ---- several cotangents and torch.func -----------------------------------------------------------


def test_cotangents_may_be_batched() -> None:
    r, x = regularizer("untied pair", torch.float64)
    x.requires_grad_()
    value, sources = r.field(x), [x, *r.parameters()]
    q = torch.randn(3, *x.shape, dtype=torch.float64)

    def pull(one: Tensor, **options: bool) -> tuple[Tensor, ...]:
        return torch.autograd.grad(value, sources, one, retain_graph=True, **options)

    each = [torch.stack(parts) for parts in zip(*map(pull, q), strict=True)]
    for together in (torch.vmap(pull)(q), pull(q, is_grads_batched=True)):
        for ours, theirs in zip(together, each, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_transforms_of_torch_func() -> None:
    r, x = regularizer("untied pair", torch.float64)
    x, v = x[:, :, :12, :9], torch.randn(1, 1, 12, 9, dtype=torch.float64)
    near = r.linearize(x)
    _, ahead = torch.func.jvp(r.field, (x,), (v,))
    assert distance(ahead, near.jvp(v)) < 1e-12
    _, pull = torch.func.vjp(r.field, x)
    assert distance(pull(v)[0], near.vjp(v)) < 1e-12
    jacobian = torch.func.jacrev(r.field)(x).reshape(x.numel(), x.numel())
    assert distance((jacobian @ v.flatten())[None], near.jvp(v).flatten(1)) < 1e-12
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, v)
        tangent = torch.autograd.forward_ad.unpack_dual(r.field(dual)).tangent
    assert distance(tangent, near.jvp(v)) < 1e-12


@pytest.mark.parametrize("case", ["chain", "splines", "untied pair"])
@pytest.mark.parametrize("second", [False, True])
def test_parameters_given_for_one_call(case: str, second: bool) -> None:
    """``functional_call`` has put the module's own parameters back when the reverse pass runs."""

    class Field(nn.Module):
        def __init__(self, regularizer: Regularizer) -> None:
            super().__init__()
            self.inner = regularizer

        def forward(self, x: Tensor) -> Tensor:
            return self.inner.field(x)

    def derivative() -> tuple[Tensor, ...]:
        given = {name: (0.9 * p.detach()).requires_grad_() for name, p in model.named_parameters()}
        value = torch.func.functional_call(model, given, (x,)).square().sum()
        found = torch.autograd.grad(value, list(given.values()), create_graph=second)
        if second:
            total = sum((part * part).sum() for part in found)
            found = torch.autograd.grad(total, list(given.values()))
        return found

    r, x = regularizer(case, torch.float64)
    model = Field(r)
    ours = derivative()
    with formula():
        theirs = derivative()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12 * float(other.abs().max()))


def test_parameters_changed_between_the_passes_are_refused() -> None:
    r, x = regularizer("chain", torch.float64)
    value = r.field(x).sum()
    with torch.no_grad():
        r.profile.log_slope.add_(0.1)  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_layers_leave_the_profile_alone() -> None:
    r, _ = regularizer("splines", torch.float64)
    inner = r.constants()
    layers = Layers.between(inner, inner, None, r.profile, "zero")  # type: ignore[arg-type]
    raw = r.profile.profile.raw  # type: ignore[union-attr]
    other = layers.of([torch.zeros_like(t) for t in layers.tensors])
    assert r.profile.profile.raw is raw  # type: ignore[union-attr]
    assert not bool(other.profile.profile.raw.any())  # type: ignore[union-attr]
