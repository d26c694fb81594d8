"""Data fidelities of users and the squared norm."""

from __future__ import annotations

import math

import pytest
import torch
from deepinv.optim import L1, L2, DataFidelity
from deepinv.optim.data_fidelity import (
    IndicatorL2,
    ItohFidelity,
    LogPoissonLikelihood,
    StackedPhysicsDataFidelity,
    ZeroFidelity,
)
from deepinv.physics import BlurFFT, LinearPhysics
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.data_term import data_term
from equipoise.differentiate import attach_gradient
from equipoise.equation import Equation
from equipoise.errors import InputError, UsageError
from equipoise.gram import Gram
from equipoise.regularizers import Tikhonov
from equipoise.solve import solve
from equipoise.testing import directional_difference
from small_problems import image_shape, measure, newton, normal, physics

SHAPE = (3, 1, 5, 6)


# ---- other fidelities ----------------------------------------------------------------------------


def pseudo_huber(u: Tensor, y: Tensor) -> Tensor:
    return ((1 + (u - y).square() / 0.04).sqrt() - 1).flatten(1).sum(1)


SMOOTH = {
    "log-poisson": LogPoissonLikelihood(N0=20.0, mu=0.5),
    "pseudo-huber": DataFidelity(d=pseudo_huber),
}


@pytest.mark.parametrize("fidelity", SMOOTH.values(), ids=SMOOTH)
@pytest.mark.parametrize("task", ["inpaint", "valid", "mixing"])
def test_any_smooth_fidelity_of_deepinv(task: str, fidelity: DataFidelity) -> None:
    operator = physics(task)
    y = measure(operator, (2, *image_shape(task)))
    equation = Equation(operator, y, Tikhonov(), 0.5, fidelity)
    x, v = normal(*equation.image_shape, seed=2), normal(*equation.image_shape, seed=3)
    energy, slope = equation.potential_and_residual(x)
    data = fidelity.fn(x, y, operator)
    torch.testing.assert_close(energy, data + 0.25 * x.flatten(1).square().sum(1))
    torch.testing.assert_close(slope, fidelity.grad(x.clone(), y, operator).detach() + 0.5 * x)
    torch.testing.assert_close(equation.residual(x), slope)
    torch.testing.assert_close(
        equation.linearize(x).jvp(v),
        directional_difference(equation.residual, x, v),
        rtol=1e-6,
        atol=1e-6,
    )
    assert equation.in_domain(x) is None
    assert equation.resolvent() is None
    assert equation.modulus.value == -math.inf  # nothing is known, nothing is claimed
    assert not equation.modulus.proved
    solution = solve(equation, equation.adjoint_data, tolerance=1e-8)
    assert solution.all_converged, solution.summary()
    assert solution.error_bound is None
    for k in range(2):
        one = Equation(operator, y[k : k + 1], Tikhonov(), 0.5, fidelity)
        exact = newton(one, solution.x[k : k + 1])
        torch.testing.assert_close(solution.x[k : k + 1], exact, rtol=0, atol=1e-5)


def test_selection_keeps_the_fidelity() -> None:
    operator = physics("mixing")
    y = measure(operator, SHAPE)
    whole = Equation(operator, y, Tikhonov(), 0.5, SMOOTH["pseudo-huber"])
    part, x = whole.select(torch.tensor([2])), normal(*SHAPE, seed=2)
    torch.testing.assert_close(part.residual(x[2:]), whole.residual(x)[2:])


def test_fidelities_with_parameters_are_learned() -> None:
    class Width(DataFidelity):
        def __init__(self) -> None:
            super().__init__(d=self.distance)
            self.width = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

        def distance(self, u: Tensor, y: Tensor) -> Tensor:
            return ((1 + ((u - y) / self.width).square()).sqrt() - 1).flatten(1).sum(1)

    operator, fidelity = physics("denoise"), Width()
    equation = Equation(operator, normal(2, 1, 3, 4), Tikhonov(), 0.5, fidelity)

    def loss() -> Tensor:
        equation = Equation(operator, normal(2, 1, 3, 4), Tikhonov(), 0.5, fidelity)
        return solve(equation, equation.adjoint_data, tolerance=1e-12).x.square().sum()

    x = solve(equation, equation.adjoint_data, tolerance=1e-12).x
    (found,) = torch.autograd.grad(attach_gradient(equation, x).square().sum(), fidelity.width)
    values = []
    for step in (-1e-5, 1e-5):
        with torch.no_grad():
            fidelity.width.add_(step)
            values.append(float(loss()))
            fidelity.width.sub_(step)
    assert float(found) == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-5)


def test_fidelity_linear_in_the_image_has_no_curvature() -> None:
    slope = normal(1, 1, 3, 4, seed=8)
    fidelity = DataFidelity(d=lambda u, y: (slope * (u - y)).flatten(1).sum(1))
    equation = Equation(physics("denoise"), normal(2, 1, 3, 4), Tikhonov(), 0.5, fidelity)
    v = normal(2, 1, 3, 4, seed=3)
    torch.testing.assert_close(equation.linearize(v).jvp(v), 0.5 * v)
    solution = solve(equation, v, tolerance=1e-10)
    torch.testing.assert_close(solution.x, (-2.0 * slope).expand(2, 1, 3, 4))


@pytest.mark.parametrize(
    ("fidelity", "words"),
    [
        (L1(), "not differentiable.*Huber"),
        (IndicatorL2(radius=1.0), "not differentiable"),
        (ItohFidelity(), "replaces fn"),
        (ZeroFidelity(), "replaces fn"),
        (StackedPhysicsDataFidelity([L2()]), "replaces fn.*one number per sample"),
        (torch.nn.MSELoss(), "deepinv.optim.DataFidelity, got MSELoss"),
    ],
)
def test_fidelities_that_cannot_work_are_refused(fidelity: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        data_term(physics("denoise"), normal(2, 1, 3, 4), fidelity)  # type: ignore[arg-type]


def test_distances_by_pixel_are_refused() -> None:
    fidelity = DataFidelity(d=lambda u, y: (u - y).square())
    equation = Equation(physics("denoise"), normal(2, 1, 3, 4), Tikhonov(), 1.0, fidelity)
    with pytest.raises(InputError, match="one number per sample"):
        equation.residual(equation.adjoint_data)


# ---- the squared norm ----------------------------------------------------------------------------


def test_energies_and_gradients_are_deepinvs() -> None:
    for task in ("denoise", "inpaint", "circular", "valid", "tomography", "mri", "downsample"):
        operator = physics(task)
        y, x = measure(operator, (2, *image_shape(task))), normal(2, *image_shape(task), seed=2)
        fidelity = L2(sigma=0.5)
        energy, slope = data_term(operator, y, fidelity).energy_and_gradient(x)
        torch.testing.assert_close(energy, fidelity.fn(x, y, operator))
        torch.testing.assert_close(slope, fidelity.grad(x, y, operator))


def test_complex_measurements_have_a_real_energy() -> None:
    class Fourier(LinearPhysics):
        def A(self, x: Tensor, **kwargs: object) -> Tensor:
            return torch.fft.fft2(x, norm="ortho")

        def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
            return torch.fft.ifft2(y, norm="ortho").real

    y, x = Fourier().A(normal(2, 1, 4, 5)), normal(2, 1, 4, 5, seed=2)
    expected = 0.5 * (x - normal(2, 1, 4, 5)).flatten(1).square().sum(1)
    own = DataFidelity(d=lambda u, y: 0.5 * (u - y).abs().square().flatten(1).sum(1))
    v = normal(2, 1, 4, 5, seed=3)
    for fidelity in (None, own):
        term = data_term(Fourier(), y, fidelity)
        energy, slope = term.energy_and_gradient(x)
        torch.testing.assert_close(energy, expected)
        torch.testing.assert_close(slope, x - normal(2, 1, 4, 5))
        torch.testing.assert_close(term.hessian(x)(v), v)


def test_norm_of_the_zero_operator() -> None:
    class Nothing(LinearPhysics):
        def A(self, x: Tensor, **kwargs: object) -> Tensor:
            return 0.0 * x

        A_adjoint = A

    low, high = Gram(Nothing(), normal(1, 1, 4, 4)).bounds
    assert (low.value, low.kind) == (0.0, Kind.PROVED)
    assert high.value == pytest.approx(0.0, abs=1e-300)
    assert high.kind is Kind.ESTIMATED


def test_singular_values_within_rounding_of_zero_prove_nothing() -> None:
    kernel = torch.full((1, 1, 1, 4), 0.25)  # its transfer function vanishes at a frequency
    physics = BlurFFT(img_size=(1, 8, 8), filter=kernel)
    low, _ = Gram(physics, torch.zeros(1, 1, 8, 8)).bounds
    assert low.proved
    assert low.value == 0.0
