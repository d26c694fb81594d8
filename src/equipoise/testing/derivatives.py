"""The part of the contract that tests derivatives by the parameters, and second ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from equipoise.errors import EquipoiseError
from equipoise.regularizers.base import Regularizer
from equipoise.testing.oracles import directional_difference
from equipoise.testing.requirements import close, in_double, random_image, require
from equipoise.vectors import norm

#: Relative tolerance of finite differences in float64.
DIFFERENCE = 1e-5
#: Share of the field's size below which differences of it are lost in rounding.
NOISE = 1e-3
#: Points at which second derivatives are tried: near one of them a slope may have a kink.
POINTS = 3


def check_parameter_gradient(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Derivatives by each parameter agree with finite differences, in every way to evaluate R.

    Those of ``<R(x), w>`` for an x with and without a gradient and for constants that are given,
    and, where R is a gradient, those of the potential and of ``potential_and_field``.
    """
    r = in_double(regularizer)
    for name, parameter in r.named_parameters():
        for what, value in _numbers(r, shape, seed).items() if parameter.requires_grad else ():
            found, expected, size = by_parameter(parameter, value, seed + 2)
            field = norm(r.field(random_image(shape, seed)).detach()).sum()
            meant = f"the derivative of {what} by the parameter {name}"
            message = f"{meant} differs from finite differences"
            close(found, expected, DIFFERENCE, message, scale=size + NOISE * field)


def _numbers(r: Regularizer, shape: Sequence[int], seed: int) -> dict[str, Callable[[], Tensor]]:
    """Functions of the parameters, one for each way to evaluate R."""
    x, w = random_image(shape, seed), random_image(shape, seed + 1)
    moving = x.clone().requires_grad_()

    numbers = {
        "field": lambda: (r.field(x) * w).sum(),
        "field (of an x that requires a gradient)": lambda: (r.field(moving) * w).sum(),
        "field (with constants that are given)": lambda: (r.field(x, r.constants()) * w).sum(),
    }
    if r.gradient_field:
        numbers["potential"] = lambda: r.potential(x).sum()
    return numbers


def by_parameter(
    parameter: Tensor, number: Callable[[], Tensor], seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiate a number by a parameter along a random direction v.

    Returns:
        The automatic derivative ``<g, v>``, a central difference, and ``||g|| ||v||``.
    """
    start, v = parameter.detach().clone(), random_image(parameter.shape, seed)

    def moved(point: Tensor) -> Tensor:
        parameter.data.copy_(point)
        return number()

    slope = directional_difference(moved, start, v)
    parameter.data.copy_(start)
    (gradient,) = _gradients(number(), [parameter])
    return (gradient * v).sum(), slope, gradient.norm() * v.norm()


def check_second_derivatives(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """A derivative of the field that can itself be differentiated gives the right numbers.

    The derivative of ``<R(x), w>`` by x, w and the parameters is taken along random directions
    and differentiated again; that must agree with finite differences of first derivatives. A field
    that cannot be differentiated twice says so by an error.
    """
    r = in_double(regularizer)
    errors = (_second_derivative_error(r, shape, seed + 100 * point) for point in range(POINTS))
    wrong = ""
    for wrong in errors:
        if not wrong:
            return
    require(False, wrong)


def _second_derivative_error(r: Regularizer, shape: Sequence[int], seed: int) -> str:
    """What is wrong at one point, or nothing."""
    x, w = (random_image(shape, seed + k).requires_grad_() for k in (0, 1))
    sources = {"x": x, "the cotangent": w}
    sources |= {f"the parameter {n}": p for n, p in r.named_parameters() if p.requires_grad}
    along = [random_image(s.shape, seed + 2 + k) for k, s in enumerate(sources.values())]

    def paired(create_graph: bool) -> tuple[Tensor, float]:
        """The first derivative along the directions, and its size."""
        value = (r.field(x) * w).sum()
        first = _gradients(value, list(sources.values()), create_graph=create_graph)
        pairs = list(zip(first, along, strict=True))
        size = sum(float(g.detach().norm() * v.norm()) for g, v in pairs)
        return sum(((g * v).sum() for g, v in pairs), torch.zeros(())), size

    number, size = paired(create_graph=True)
    try:
        number.backward()  # torch.autograd.grad passes over what once_differentiable refuses
    except (RuntimeError, EquipoiseError):  # it says that it cannot
        return ""
    second = [s.grad if s.grad is not None else torch.zeros_like(s) for s in sources.values()]
    for k, ((name, source), gradient) in enumerate(zip(sources.items(), second, strict=True)):
        start, v = source.detach().clone(), random_image(source.shape, seed + 50 + k)

        def moved(point: Tensor, source: Tensor = source) -> Tensor:
            source.data.copy_(point)
            with torch.enable_grad():
                return paired(create_graph=False)[0]

        slope = directional_difference(moved, start, v)
        source.data.copy_(start)
        scale = float(gradient.norm() * v.norm()) + NOISE * size
        error = float(((gradient * v).sum() - slope).abs()) / max(scale, 1e-12)
        if not error <= DIFFERENCE:
            return (
                f"the second derivative of the field by {name} differs from finite differences "
                f"(relative error {error:.3g})"
            )
    return ""


def _gradients(value: Tensor, sources: list[Tensor], create_graph: bool = False) -> list[Tensor]:
    """Derivatives of a number, zeros by what it does not depend on."""
    if not value.requires_grad:
        return [torch.zeros_like(source) for source in sources]
    return list(
        torch.autograd.grad(
            value, sources, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
    )
