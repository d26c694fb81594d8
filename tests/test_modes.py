"""Modes of PyTorch around equipoise change no number: each is held to the plain call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import deepinv
import pytest
import torch
from deepinv.optim import DataFidelity, PoissonLikelihood
from deepinv.physics import Blur, CompressedSensing, LinearPhysics
from torch import Tensor, nn
from torch.autograd import forward_ad

from equipoise import (
    Equation,
    EquilibriumReconstructor,
    Regularizer,
    Residual,
    SolveOptions,
    TrainSettings,
    UsageError,
    build,
    denoise,
    from_deepinv,
)
from equipoise.certify import certify, error_bound
from equipoise.differentiate import attach_gradient, unroll
from equipoise.learn import learn
from equipoise.linear import GMRES
from equipoise.modes import ordinary
from equipoise.solve import solve

SHAPE = (1, 8, 8)
Mode = Callable[[], AbstractContextManager[object]]


def autocast() -> AbstractContextManager[object]:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def images(seed: int = 0) -> Tensor:
    return torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(seed))


def blur() -> Blur:
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 9.0, 3.0], [1.0, 2.0, 1.0]]) / 22
    return Blur(filter=kernel[None, None], padding="circular")


class Dense(nn.Module):
    """A network whose derivative is made of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return 0.3 * self.outer(torch.tanh(self.inner(x)))


def field(name: str) -> Regularizer:
    torch.manual_seed(1)
    if name == "prior":
        return from_deepinv(deepinv.optim.Tikhonov())
    if name == "network":
        return Residual(Dense())
    options = {
        "crr": {"filters": (2, 3), "kernel_size": 3},
        "untied-conv": {"filters": 3, "kernel_size": 3},
        "contractive": {"width": 3, "depth": 2, "kernel_size": 3},
    }
    return build(name, **options[name])


FIELDS = ("crr", "untied-conv", "contractive", "prior", "network")


def weighted(u: Tensor, y: Tensor) -> Tensor:
    """A distance whose derivative keeps the measurements themselves."""
    return 0.5 * (y * (u - 1).square()).sum().reshape(1)


def fidelity(name: str) -> DataFidelity | None:
    if name == "weighted":
        return DataFidelity(d=weighted)
    return PoissonLikelihood(gain=1 / 50, bkg=0.1) if name == "Poisson" else None


def model(name: str, data: str = "L2") -> EquilibriumReconstructor:
    alpha = nn.Parameter(torch.tensor(0.1))
    return EquilibriumReconstructor(field(name), alpha, data_fidelity=fidelity(data))


def measured(physics: LinearPhysics) -> Tensor:
    return physics.A(images()) + 0.05 * images(1)[:, :, :1, :1]


def outcome(
    network: EquilibriumReconstructor,
    y: Tensor,
    physics: LinearPhysics,
    forward: Mode = nullcontext,
    backward: Mode = nullcontext,
) -> list[Tensor]:
    """Reconstruction and gradients by the data and all parameters."""
    network.zero_grad()
    y = y.clone().requires_grad_()
    with forward():
        x = network(y, physics)
    loss = x.square().sum()
    with backward():
        loss.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return [x.detach(), y.grad, *gradients]


def same(found: list[Tensor], plain: list[Tensor]) -> bool:
    return len(found) == len(plain) and all(map(torch.equal, found, plain))


@pytest.mark.parametrize("data", ["L2", "Poisson"])
@pytest.mark.parametrize("name", FIELDS)
def test_autocast_and_inference_change_nothing(name: str, data: str) -> None:
    network, physics = model(name, data), blur()
    y = measured(physics)
    plain = outcome(network, y, physics)
    assert network.last_solution is not None
    assert network.last_solution.all_converged
    assert same(outcome(network, y, physics, autocast, autocast), plain)
    assert same(outcome(network, y, physics, autocast), plain)
    assert same(outcome(network, y, physics, backward=autocast), plain)
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            x = network(y, physics)
        assert torch.equal(x, plain[0])
        assert not x.requires_grad


def test_matrix_products_of_a_physics_keep_their_precision() -> None:
    physics = CompressedSensing(256, SHAPE, rng=torch.Generator().manual_seed(0))
    network, y = model("contractive"), physics.A(images())
    plain = outcome(network, y, physics)
    assert same(outcome(network, y, physics, autocast, autocast), plain)


def test_the_graph_of_the_caller_is_left_to_autocast() -> None:
    """Only what belongs to the equation is kept out; before it, the caller's rules hold."""
    physics, network, seen = blur(), model("crr"), []

    class Watch(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return g

    y = Watch.apply(measured(physics).requires_grad_())
    x = network(y, physics)
    with autocast():
        x.sum().backward()
        assert torch.is_autocast_enabled("cpu")
    assert seen == [True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_measurements_are_solved_in_the_precision_of_the_field(
    dtype: torch.dtype,
) -> None:
    physics, network = blur(), model("crr")
    with autocast():
        assert physics.A(images()).dtype == torch.bfloat16
    y = measured(physics).to(dtype).requires_grad_()
    x = network(y, physics, images().to(dtype))
    assert x.dtype == torch.float32
    assert torch.equal(x, network(y.float(), physics, images().to(dtype).float()))
    x.sum().backward()
    assert y.grad is not None
    assert y.grad.dtype == dtype
    double = EquilibriumReconstructor(field("crr").double())
    assert double(y, deepinv.physics.Denoising()).dtype == torch.float64


@pytest.mark.parametrize("data", ["L2", "Poisson", "weighted"])
@pytest.mark.parametrize("name", ["crr", "prior", "network"])
def test_what_was_made_in_inference_mode_can_be_differentiated_later(name: str, data: str) -> None:
    network, physics = model(name, data), blur()
    y, start = measured(physics), images(2)
    network(y, physics, start).square().sum().backward()
    gradients = [p.grad for p in network.parameters()]
    with torch.inference_mode():
        late, made = model(name, data), blur()
        held = y.clone(), made, start.clone()
        assert all(t.is_inference() for t in (*late.parameters(), *made.buffers(), *held[::2]))
    network.zero_grad()
    network(*held).square().sum().backward()
    assert same([p.grad for p in network.parameters()], gradients)
    assert not any(map(Tensor.is_inference, made.buffers()))
    assert torch.equal(late(*held), network(y, physics, start))
    assert torch.equal(late.regularizer.prox(held[0]), network.regularizer.prox(y))


def test_ordinary_tensors_are_not_copied() -> None:
    x = images()
    assert ordinary(x) is x


@pytest.fixture
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def default_device() -> Iterator[None]:
    """Whatever is made without a device lands where it has no values."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("mode", ["default_dtype", "default_device"])
@pytest.mark.parametrize("name", FIELDS)
def test_defaults_of_torch_change_nothing(
    name: str, mode: str, request: pytest.FixtureRequest
) -> None:
    network, physics = model(name, "Poisson"), blur()
    y = measured(physics)
    plain = outcome(network, y, physics)
    request.getfixturevalue(mode)
    assert same(outcome(network, y, physics), plain)


@pytest.mark.parametrize("name", ["crr", "network"])
def test_compiled_models_give_the_plain_numbers(name: str) -> None:
    network, physics = model(name), blur()
    y = measured(physics)
    plain = outcome(network, y, physics)
    compiled = torch.compile(network, backend="eager")
    assert same(outcome(compiled, y, physics), plain)

    def restore(y: Tensor) -> Tensor:
        equation = network.equation(2 * y, physics)
        return solve(equation, equation.adjoint_data).x / 2

    assert torch.equal(torch.compile(restore, backend="eager")(y), restore(y))


def transformed(kind: str, call: Callable[[Tensor], Tensor], y: Tensor) -> object:
    if kind == "grad":
        return torch.func.grad(lambda y: call(y).sum())(y)
    if kind == "vmap":
        return torch.func.vmap(lambda y: call(y[None])[0])(y)
    with forward_ad.dual_level():
        return call(forward_ad.make_dual(y, y))


@pytest.mark.parametrize("kind", ["grad", "vmap", "dual"])
def test_function_transforms_are_refused_by_name(kind: str) -> None:
    network, physics = model("crr"), blur()
    for call in (lambda y: network(y, physics), network.regularizer.prox):
        with pytest.raises(UsageError, match=r"torch\.vmap, torch\.func or forward-mode"):
            transformed(kind, call, measured(physics))


def test_tangents_of_parameters_are_refused() -> None:
    network, physics = model("crr"), blur()
    with forward_ad.dual_level():
        alpha = forward_ad.make_dual(torch.tensor(0.1), torch.tensor(1.0))
        with pytest.raises(UsageError, match="forward-mode"):
            Equation(physics, measured(physics), network.regularizer, alpha)


def test_evaluations_of_the_equation_and_its_parts_keep_their_precision() -> None:
    physics, x = blur(), images(3)
    equation = Equation(physics, measured(physics), field("crr"), 0.3)

    def evaluate(equation: Equation) -> list[Tensor]:
        energy, slope = equation.potential_and_residual(x)
        near = equation.linearize(x)
        r = equation.regularizer
        inverse = equation.preconditioner(x)
        assert inverse is not None
        return [
            equation.adjoint_data,
            equation.scale,
            equation.residual(x),
            energy,
            slope,
            near.jvp(x),
            inverse(x),
            equation.differentiable_residual(x).detach(),
            equation.differentiable_residual(x).detach(),
            r.field(x).detach(),
            r.potential(x).detach(),
            r.field(x).detach(),
            r.linearize(x).jvp(x),
            unroll(equation, x, 3, 0.1).detach(),
        ]

    plain = evaluate(equation)
    for mode in (autocast, torch.inference_mode):
        with mode():
            found = evaluate(Equation(physics, equation.y, equation.regularizer, 0.3))
        assert same(found, plain)


def test_unrolled_gradients_keep_their_precision() -> None:
    physics, network = blur(), field("network")
    equation = Equation(physics, measured(physics), network, 0.3)

    def gradients(mode: Mode) -> list[Tensor]:
        network.zero_grad()
        loss = unroll(equation, images(), 4, 0.2).square().sum()
        with mode():
            loss.backward()
        return [p.grad for p in network.parameters()]

    assert same(gradients(autocast), gradients(nullcontext))


def test_fields_keep_their_precision_in_backward_passes() -> None:
    regularizer, x = field("crr"), images().requires_grad_()

    def gradient(mode: Mode) -> list[Tensor]:
        value = regularizer.field(x).square().sum()
        with mode():
            return list(torch.autograd.grad(value, [x, *regularizer.parameters()]))

    assert same(gradient(autocast), gradient(nullcontext))


def test_linear_solvers_keep_their_precision() -> None:
    b = images().double()
    matrix = torch.eye(8) + 0.1 * images(4)[0, 0]

    def product(v: Tensor) -> Tensor:
        return (v.float() @ matrix).to(v)

    plain = GMRES(tolerance=1e-6).solve(product, b.float())
    with autocast():
        found = GMRES(tolerance=1e-6).solve(product, b.float())
    assert same([found.x, found.residual], [plain.x, plain.residual])


@pytest.mark.parametrize("mode", [autocast, torch.inference_mode])
def test_certificates_are_those_of_the_plain_call(mode: Mode) -> None:
    physics, truth = blur(), images()
    equation = Equation(physics, measured(physics), field("contractive"), 0.3)
    x = solve(equation, equation.adjoint_data).x
    plain, bound = certify(equation, x=x, truth=truth), error_bound(equation, x)
    with mode():
        again = Equation(physics, equation.y, equation.regularizer, 0.3)
        assert certify(again, x=x, truth=truth).records() == plain.records()
        assert torch.equal(error_bound(again, x), bound)


@pytest.mark.parametrize(
    ("learning", "mode"),
    [
        ("bilevel", torch.inference_mode),
        ("bilevel", torch.no_grad),
        ("unrolled", autocast),
        ("source-condition", autocast),
    ],
)
def test_learning_gives_the_plain_weights(learning: str, mode: Mode) -> None:
    photographs = [images(seed)[0] for seed in range(3)]
    settings = TrainSettings(mode=learning, steps=2, patches=4, patch_size=8, batch_size=2)

    def train() -> list[Tensor]:
        problem = denoise(SHAPE, sigma=0.1)
        config = {"filters": (2, 3), "kernel_size": 3}
        result = learn("crr", config, problem, photographs, photographs[:1], settings)
        return list(result.regularizer.state_dict().values())

    plain = train()
    with mode():
        found = train()
    assert same(found, plain)


def test_gradients_are_attached_as_the_modes_of_the_caller_say() -> None:
    physics, network = blur(), model("crr")
    equation = network.equation(measured(physics), physics)
    x = solve(equation, equation.adjoint_data).x
    with autocast():
        assert attach_gradient(equation, x).requires_grad
    with torch.inference_mode():
        assert not attach_gradient(equation, x).requires_grad
        assert torch.is_inference_mode_enabled()
    assert SolveOptions() == network.options
