"""With ``W2 = W1^T`` the equilibrium framework is the bilevel one: solutions and hypergradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.differentiate import adjoint_by_name, attach_gradient
from equipoise.equation import Equation
from equipoise.regularizers import (
    DenseTiedPair,
    DenseUntiedPair,
    Regularizer,
    TiedConvPair,
    UntiedConvPair,
)
from equipoise.regularizers.pairs import ACTIVATIONS
from equipoise.solve import solve
from equipoise.solve.anderson import Anderson
from equipoise.solve.lbfgs import LBFGS
from small_problems import measure, normal, physics

SHAPE = (2, 1, 5, 6)
TASKS = ("denoise", "inpaint", "circular")
EXACT = 1e-9
SLOPES = {
    "relu": torch.relu,
    "soft-shrink": lambda z: F.softshrink(z, 0.5),
    "identity": lambda z: z,
    "tanh": torch.tanh,
}


def tied_pair(kind: str, activation: str) -> TiedConvPair | DenseTiedPair:
    torch.manual_seed(0)
    pair = (
        TiedConvPair(1, 4, 3, activation, scale=1.5)
        if kind == "conv"
        else DenseTiedPair(SHAPE[1:], 60, activation, scale=0.5)
    )
    pair.double()
    size = 0.3 if kind == "conv" else 0.1  # enough features are active to fix missing pixels
    with torch.no_grad():
        for seed, parameter in enumerate(pair.parameters()):
            parameter.add_(size * normal(*parameter.shape, seed=20 + seed))
    return pair


def untied_pair(tied: TiedConvPair | DenseTiedPair) -> UntiedConvPair | DenseUntiedPair:
    if isinstance(tied, TiedConvPair):
        return UntiedConvPair.from_tied(tied)
    return DenseUntiedPair.from_tied(tied)


def hypergradients(
    task: str, regularizer: Regularizer, linear: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """The equilibrium and the derivatives of a loss of it by everything that has one."""
    operator = physics(task)
    y = measure(operator, SHAPE).requires_grad_()
    alpha = torch.tensor([0.4, 0.9], dtype=torch.float64, requires_grad=True)
    equation = Equation(operator, y, regularizer, alpha)
    solver = LBFGS() if equation.gradient_field else Anderson()
    solution = solve(equation, equation.adjoint_data, solver, tolerance=1e-12, max_evaluations=5000)
    assert solution.all_converged, solution.summary()
    adjoint = adjoint_by_name(linear, tolerance=1e-13)
    x = attach_gradient(equation, solution.x, adjoint, on_failure="error")
    loss = ((1 + normal(*SHAPE, seed=5).square()) * (x - normal(*SHAPE, seed=6)).square()).sum()
    leaves = {**dict(regularizer.named_parameters()), "alpha": alpha, "y": y}
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return solution.x, dict(zip(leaves, gradients, strict=True))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_solutions_and_hypergradients_agree(kind: str, task: str, activation: str) -> None:
    tied = tied_pair(kind, activation)
    untied = untied_pair(tied)
    assert tied.traits().gradient_field
    assert not untied.traits().gradient_field
    x, bilevel = hypergradients(task, tied, "cg")
    z, equilibrium = hypergradients(task, untied, "gmres")
    assert relative(z, x) < EXACT
    weight = next(name for name in bilevel if name.startswith("operator"))
    part = weight.removeprefix("operator.")
    # dK = dK1 + dK2, which is the derivative by the mean of both sides.
    assert relative(equilibrium[f"mean.{part}"], bilevel[weight]) < EXACT
    for name in ("bias", "alpha", "y"):
        assert relative(equilibrium[name], bilevel[name]) < EXACT, name
    assert set(equilibrium) == {f"mean.{part}", f"difference.{part}", "bias", "alpha", "y"}
    assert set(bilevel) == {weight, "bias", "alpha", "y"}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("task", TASKS)
def test_the_tied_gradient_is_the_sum_of_both_sides(task: str, activation: str) -> None:
    """The two sides written out, ``W2 s(W1 x + b)``, with a dense adjoint."""
    tied = tied_pair("dense", activation)
    x, bilevel = hypergradients(task, tied, "cg")
    operator = physics(task)
    y, alpha = measure(operator, SHAPE), torch.tensor([0.4, 0.9], dtype=torch.float64)
    first = tied.operator.matrix.detach().clone().requires_grad_()
    second = first.detach().mT.clone().requires_grad_()
    bias = tied.bias.detach()

    def residual(z: Tensor) -> Tensor:
        images = z.view(SHAPE)
        field = SLOPES[activation](images.flatten(1) @ first.mT + bias) @ second.mT
        data = operator.A_adjoint(operator.A(images) - y).flatten(1)
        return (data + alpha[:, None] * field).flatten()

    J = torch.autograd.functional.jacobian(residual, x.flatten()).detach()
    weight = 1 + normal(*SHAPE, seed=5).square()
    g = (2 * weight * (x - normal(*SHAPE, seed=6))).flatten()
    q = torch.linalg.solve(J.mT, g)
    sides = torch.autograd.grad(residual(x.flatten()), [first, second], -q)
    found = bilevel["operator.matrix"]
    assert relative(sides[0] + sides[1].mT, found) < EXACT
    assert relative(sides[0], found) > 1e-2  # neither side is the whole gradient
    assert relative(sides[1].mT, found) > 1e-2


def test_only_the_untied_pair_learns_a_difference() -> None:
    tied = tied_pair("conv", "tanh")
    untied = untied_pair(tied)
    _, equilibrium = hypergradients("inpaint", untied, "gmres")
    assert equilibrium["difference.layers.0"].norm() > 1e-3 * equilibrium["mean.layers.0"].norm()
