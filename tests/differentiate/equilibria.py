"""Small equations with exact equilibria, and finite differences of losses of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from deepinv.physics import Blur, Denoising, Inpainting, LinearPhysics
from torch import Tensor

from equipoise.equation import Equation
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.catalogue import build

SHAPE = (2, 1, 5, 6)
TASKS = ("denoise", "inpaint", "deblur")
#: Gradient fields first.
FIELDS = ("tied", "untied", "contractive")


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit(like: Tensor, seed: int) -> Tensor:
    direction = normal(*like.shape, seed=seed)
    return (direction / direction.norm()).to(like.dtype)


def make_field(field: str, activation: str = "tanh") -> Regularizer:
    """A field with random parameters of moderate size."""
    if field == "contractive":
        options = {"width": 3, "depth": 2, "kernel_size": 3, "contraction": 0.8}
        regularizer = build("contractive", **options)
    else:
        options = {"filters": 3, "kernel_size": 3, "activation": activation}
        regularizer = build(f"{field}-conv", **options)
    regularizer.double()
    with torch.no_grad():
        for seed, (name, p) in enumerate(sorted(regularizer.named_parameters())):
            size = 0.3 if name in ("bias", "offset", "step_logit", "log_sharpness") else 0.5
            p.copy_(size * normal(*p.shape, seed=100 + seed))
        named = dict(regularizer.named_parameters())
        if field == "untied":
            named["difference.layers.0"].mul_(2.0)
        if field == "contractive":  # bend within the range of these images
            named["log_sharpness"].sub_(3.0)
    return regularizer


def make_physics(task: str, kernel: Tensor) -> LinearPhysics:
    if task == "denoise":
        return Denoising()
    if task == "inpaint":
        mask = (normal(*SHAPE[1:], seed=3) > -0.2).double()
        return Inpainting(SHAPE[1:], mask=mask)
    return Blur(filter=kernel, padding="circular")


@dataclass(frozen=True)
class Case:
    """A task and a field with everything that has a gradient, and a loss of the equilibrium."""

    task: str
    field: str
    activation: str = "tanh"

    def __post_init__(self) -> None:
        _ = self.jacobian  # found before anything moves the weights

    @cached_property
    def regularizer(self) -> Regularizer:
        return make_field(self.field, self.activation)

    @cached_property
    def alpha(self) -> Tensor:
        return torch.tensor([0.6, 0.9], dtype=torch.float64, requires_grad=True)

    @cached_property
    def y(self) -> Tensor:
        return normal(*SHAPE, seed=1).requires_grad_()

    @cached_property
    def kernel(self) -> Tensor:
        kernel = 0.15 * normal(1, 1, 3, 3, seed=2)
        kernel[0, 0, 1, 1] += 1.0
        return kernel.requires_grad_()

    @property
    def weights(self) -> dict[str, Tensor]:
        """All leaves that the equilibrium depends on."""
        leaves = {**dict(self.regularizer.named_parameters()), "alpha": self.alpha, "y": self.y}
        return {**leaves, "kernel": self.kernel} if self.task == "deblur" else leaves

    def equation(self) -> Equation:
        """The equation for the present values of the weights."""
        physics = make_physics(self.task, self.kernel)
        return Equation(physics, self.y, self.regularizer, self.alpha)

    @cached_property
    def x(self) -> Tensor:
        """The equilibrium for the original weights, by a damped Newton method with a dense J."""
        equation = self.equation()
        x = equation.adjoint_data.clone()
        residual = equation.residual(x)
        for _ in range(60):
            step = torch.linalg.solve(dense_jacobian(equation, x), residual.flatten()).view_as(x)
            size = 1.0
            while size > 1e-4 and equation.residual(x - size * step).norm() > residual.norm():
                size /= 2
            x = x - size * step
            residual = equation.residual(x)
            if residual.norm() < 1e-13:
                return x
        raise AssertionError(f"Newton's method failed: {float(residual.norm())}")

    @cached_property
    def jacobian(self) -> Tensor:
        """J of the whole batch at the equilibrium, (N, N), by automatic differentiation."""
        return dense_jacobian(self.equation(), self.x)

    def solved_again(self) -> Tensor:
        """The equilibrium for slightly changed weights, by a chord method."""
        equation, x = self.equation(), self.x
        for _ in range(100):
            residual = equation.residual(x)
            if residual.norm() < 2e-14 * len(residual.flatten()) ** 0.5:
                return x
            x = x - torch.linalg.solve(self.jacobian, residual.flatten()).view_as(x)
        raise AssertionError(f"The chord method failed: {float(residual.norm())}")

    def finite_difference(self, name: str, direction: Tensor, h: float) -> float:
        """Central differences of fourth order of the loss along a direction of one weight."""
        values = []
        for factor in (-2, -1, 1, 2):
            with moved(self.weights[name], factor * h * direction):
                values.append(float(loss(self.solved_again())))
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)


def loss(x: Tensor) -> Tensor:
    """A weighted distance to some image."""
    weight = 1.0 + normal(*SHAPE, seed=5).square()
    return 0.5 * (weight * (x - normal(*SHAPE, seed=6)).square()).sum()


def dense_jacobian(equation: Equation, x: Tensor) -> Tensor:
    def residual(flat: Tensor) -> Tensor:
        return equation.differentiable_residual(flat.view(SHAPE)).flatten()

    return torch.autograd.functional.jacobian(residual, x.flatten(), vectorize=True).detach()


@contextmanager
def moved(weight: Tensor, by: Tensor) -> Iterator[None]:
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.add_(by)
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
