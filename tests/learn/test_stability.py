"""How fields that are no gradients keep their equilibrium."""

from __future__ import annotations

import pytest
import torch
from deepinv.physics import Denoising, Inpainting
from learning_problems import pose, quick, small_bank, small_field, small_validation
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.equation import Equation
from equipoise.learn import train
from equipoise.learn.stability import hold_uniqueness, least_direction, monotonicity_penalty
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.vectors import dot

SHAPE = (3, 1, 4, 4)


class Linear(Regularizer):
    """``R(x) = M x``."""

    gradient_field = False

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix)

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return (x.flatten(1) @ self.matrix.T).view_as(x)


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def field_with(least: float, largest: float = 6.0) -> Linear:
    """A matrix whose symmetric part has these extreme eigenvalues."""
    basis, _ = torch.linalg.qr(normal(16, 16, seed=0))
    values = torch.linspace(least, largest, 16, dtype=torch.float64)
    skew = normal(16, 16, seed=1)
    return Linear(basis @ torch.diag(values) @ basis.T + (skew - skew.T))


def denoising(regularizer: Regularizer) -> Equation:
    return Equation(Denoising(), normal(*SHAPE, seed=2), regularizer)


def repeated(equation: Equation, margin: float, visits: int) -> tuple[Tensor, Tensor]:
    direction = normal(*SHAPE, seed=3)
    for _ in range(visits):
        penalty, direction = monotonicity_penalty(
            equation, torch.zeros(SHAPE, dtype=torch.float64), direction, margin
        )
    return penalty, direction


@pytest.mark.parametrize("least", [-1.4, -1.0, 0.5])
def test_penalty_finds_the_smallest_eigenvalue(least: float) -> None:
    # Its size relative to the largest does not matter, nor its sign, nor a skew part.
    field = field_with(least)
    penalty, direction = repeated(denoising(field), 3.0, 40)
    whole = torch.eye(16, dtype=torch.float64) + field.matrix.detach()
    expected = float(torch.linalg.eigvalsh(0.5 * (whole + whole.T))[0])
    assert expected == pytest.approx(1.0 + least)
    assert penalty.item() == pytest.approx((3.0 - expected) ** 2, rel=1e-3)
    v = direction.flatten(1)
    quotients = torch.einsum("bi,ij,bj->b", v, whole, v)
    assert quotients.tolist() == pytest.approx([expected] * 3, abs=1e-3)
    assert v.norm(dim=1).tolist() == pytest.approx([1.0] * 3)


def test_penalty_vanishes_where_the_margin_holds() -> None:
    penalty, _ = repeated(denoising(field_with(0.5)), 1.4, 40)
    assert penalty.item() == 0.0


def test_directions_stay_finite_where_all_eigenvalues_agree() -> None:
    skew = normal(16, 16, seed=1)
    penalty, direction = repeated(denoising(Linear(skew - skew.T)), 3.0, 5)
    assert penalty.item() == pytest.approx(4.0)
    assert torch.isfinite(direction).all()
    kept = least_direction(torch.zeros_like, normal(*SHAPE, seed=3), 3)
    assert kept.flatten(1).norm(dim=1).tolist() == pytest.approx([1.0] * 3)


def test_quotient_never_rises() -> None:
    matrix = field_with(-1.0).matrix.detach()
    symmetric = 0.5 * (matrix + matrix.T)

    def apply(v: Tensor) -> Tensor:
        return (v.flatten(1) @ symmetric).view_as(v)

    v, last = normal(*SHAPE, seed=4), torch.full((3,), torch.inf, dtype=torch.float64)
    for _ in range(12):
        v = least_direction(apply, v, 1)
        quotient = dot(apply(v), v)
        assert (quotient <= last + 1e-12).all()
        last = quotient


def test_penalty_gradient_agrees_with_finite_differences() -> None:
    field = small_field("untied-conv")
    bank = small_bank(pose("inpaint"), count=3)
    equation = Equation(bank.physics, bank.y, field)
    direction = bank.direction
    for _ in range(10):
        _, direction = monotonicity_penalty(equation, bank.x, direction, 2.0)
    fixed = least_direction(lambda v: v, direction, 0)

    def value() -> Tensor:
        """The formula with the direction that the last visit used."""
        h = 0.05 / used.flatten(1).abs().amax(1)
        ahead = equation.differentiable_residual(bank.x + h.view(-1, 1, 1, 1) * used)
        slope = dot(ahead - equation.differentiable_residual(bank.x), used) / h
        return (2.0 - slope).clamp_min(0.0).square().mean()

    penalty, used = monotonicity_penalty(equation, bank.x, fixed, 2.0)
    assert penalty.item() > 0.1
    penalty.backward()
    assert penalty.item() == pytest.approx(value().item(), rel=1e-12)
    parameter = dict(field.named_parameters())["regularizer.difference.layers.0"]
    assert parameter.grad is not None
    step, h = parameter.grad / parameter.grad.norm(), 1e-4
    values = []
    for factor in (1.0, -1.0):
        with torch.no_grad():
            parameter.add_(factor * h * step)
            values.append(value().item())
            parameter.sub_(factor * h * step)
    slope = (values[0] - values[1]) / (2 * h)
    assert float(parameter.grad.norm()) == pytest.approx(slope, rel=1e-6)


def test_training_on_the_penalty_restores_monotonicity() -> None:
    field = field_with(-1.4)
    optimizer = torch.optim.Adam(field.parameters(), lr=0.02)
    direction = normal(*SHAPE, seed=3)
    zero = torch.zeros(SHAPE, dtype=torch.float64)

    def least() -> float:
        whole = torch.eye(16, dtype=torch.float64) + field.matrix.detach()
        return float(torch.linalg.eigvalsh(0.5 * (whole + whole.T))[0])

    assert least() == pytest.approx(-0.4)
    for _ in range(150):
        optimizer.zero_grad()
        penalty, direction = monotonicity_penalty(denoising(field), zero, direction, 0.2)
        penalty.backward()
        optimizer.step()
    assert least() > 0.15


def test_norm_control_keeps_the_proved_modulus() -> None:
    moduli = {}
    for control in (True, False):
        field, bank = small_field("untied-conv"), small_bank()
        # Without these the field could make itself weak instead.
        for name, parameter in field.named_parameters():
            parameter.requires_grad_(not name.startswith(("log", "regularizer.mean")))
        settings = quick(mode="equilibrium", learning_rate=10.0, norm_control=control)
        train(field, bank, small_validation(tolerance=0.3), settings)
        modulus = Equation(bank.physics, bank.y, field).modulus
        assert modulus is not None
        assert modulus.kind is Kind.PROVED
        moduli[control] = modulus.value
    assert moduli[True] >= 0.09
    assert moduli[False] < -1.0


def test_norm_control_says_where_it_applies() -> None:
    y = torch.zeros(SHAPE, dtype=torch.float64)
    assert hold_uniqueness(small_field("untied-conv"), Equation(Denoising(), y, small_field()))
    tied = small_field("tied-conv")
    assert not hold_uniqueness(tied, Equation(Denoising(), y, tied))
    untied = small_field("untied-conv")
    mask = torch.ones(SHAPE[1:], dtype=torch.float64)
    mask[0, 0, 0] = 0.0
    holes = Inpainting(SHAPE[1:], mask=mask)
    before = {name: p.clone() for name, p in untied.named_parameters()}
    assert not hold_uniqueness(untied, Equation(holes, y, untied))
    assert all(torch.equal(p, before[name]) for name, p in untied.named_parameters())
