"""Tikhonov and smoothed total variation against explicit sums and dense Jacobians."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deepinv.physics import BlurFFT

from equipoise.convolutions.circulant import transfer
from equipoise.equation import Equation
from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.classical import (
    Operator,
    SmoothedTotalVariation,
    Tikhonov,
    differences,
    differences_adjoint,
)
from equipoise.solve import LBFGS, solve
from equipoise.testing.oracles import dense_jacobian, dense_products, directional_difference
from equipoise.testing.requirements import random_image

REGULARIZERS = {
    "tikhonov": Tikhonov(),
    "gradient": Tikhonov("gradient"),
    "gradient 1-D": Tikhonov("gradient", dims=1),
    "tv": SmoothedTotalVariation(0.1),
    "tv 1-D": SmoothedTotalVariation(0.1, dims=1),
    "tv 3-D": SmoothedTotalVariation(0.1, dims=3),
}


def image(regularizer: Regularizer, batch: int = 1, channels: int = 1) -> torch.Tensor:
    size = {1: (9,), None: (6, 7), 2: (6, 7), 3: (3, 4, 3)}[regularizer.dims]
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("axis", [2, 3])
def test_adjoint_of_differences(axis: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, p = torch.randn(2, 1, 2, 5, 6, generator=generator, dtype=torch.float64)
    left = (differences(x, axis - 1) * p).sum()
    right = (x * differences_adjoint(p, axis - 1)).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-12)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_field_is_the_gradient_of_the_potential(name: str) -> None:
    regularizer = REGULARIZERS[name]
    x = image(regularizer, batch=2, channels=3)
    v = torch.sin(torch.arange(x.numel(), dtype=torch.float64)).reshape(x.shape)
    slope = (regularizer.field(x) * v).flatten(1).sum(1)
    torch.testing.assert_close(
        slope, directional_difference(regularizer.potential, x, v), rtol=1e-6, atol=1e-7
    )
    value, field = regularizer.frozen().potential_and_value(x)
    torch.testing.assert_close(value, regularizer.potential(x))
    torch.testing.assert_close(field, regularizer.field(x))


@pytest.mark.parametrize("name", REGULARIZERS)
def test_products_are_those_of_the_symmetric_dense_jacobian(name: str) -> None:
    regularizer = REGULARIZERS[name]
    x = image(regularizer)
    linearization = regularizer.linearize(x)
    dense = dense_jacobian(regularizer, x)
    torch.testing.assert_close(dense_products(linearization.jvp, x), dense)
    torch.testing.assert_close(dense, dense.T)
    assert linearization.vjp is linearization.jvp


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize("contrast", [1e-3, 1.0])
def test_traits_enclose_the_spectrum(name: str, contrast: float) -> None:
    regularizer = REGULARIZERS[name]
    spectrum = torch.linalg.eigvalsh(dense_jacobian(regularizer, contrast * image(regularizer)))
    traits = regularizer.traits()
    assert traits.modulus is not None
    assert traits.lipschitz is not None
    assert traits.modulus.proved
    assert traits.lipschitz.proved
    assert traits.modulus.value <= float(spectrum[0]) + 1e-12
    assert float(spectrum[-1]) <= traits.lipschitz.value
    if contrast < 1e-2:  # near a constant image the bound is nearly attained
        assert float(spectrum[-1]) >= 0.75 * traits.lipschitz.value


def test_total_variation_is_the_sum_of_its_formula() -> None:
    x = image(SmoothedTotalVariation(), batch=2, channels=2)
    array = x.numpy()
    down = np.diff(array, axis=2, append=array[:, :, -1:])
    right = np.diff(array, axis=3, append=array[..., -1:])
    expected = (np.sqrt(down**2 + right**2 + 1e-6) - 1e-3).sum(axis=(1, 2, 3))
    assert SmoothedTotalVariation(1e-3).potential(x).numpy() == pytest.approx(expected, rel=1e-10)


def test_potential_keeps_small_contrasts_in_single_precision() -> None:
    x = 1e-6 * image(SmoothedTotalVariation())
    exact = SmoothedTotalVariation(1e-3).potential(x)
    single = SmoothedTotalVariation(1e-3).potential(x.float())
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=0)


def test_tikhonov_is_half_the_squared_norm() -> None:
    x = image(Tikhonov(), batch=2)
    torch.testing.assert_close(Tikhonov().potential(x), 0.5 * x.square().flatten(1).sum(1))
    torch.testing.assert_close(Tikhonov().field(x), x)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_configuration_makes_an_equal_one(name: str) -> None:
    regularizer = REGULARIZERS[name]
    arguments = {key: value for key, value in regularizer.config.items() if key != "name"}
    again = type(regularizer)(**arguments)
    x = image(regularizer)
    torch.testing.assert_close(again.field(x), regularizer.field(x), rtol=0, atol=0)
    assert regularizer.config["name"] == regularizer.catalogue_name


def test_bad_arguments_are_refused() -> None:
    for epsilon in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="epsilon"):
            SmoothedTotalVariation(epsilon)
    with pytest.raises(UsageError, match="dims"):
        SmoothedTotalVariation(dims=0)
    with pytest.raises(UnknownNameError, match="gradient"):
        Tikhonov("gradeint")
    with pytest.raises(InputError, match="spatial axes"):
        SmoothedTotalVariation().field(torch.zeros(1, 1, 5))


@pytest.mark.parametrize("sizes", [(9,), (8, 11), (5, 6, 7)])
@pytest.mark.parametrize("operator", ["identity", "gradient"])
def test_the_convolution_near_tikhonov(operator: Operator, sizes: tuple[int, ...]) -> None:
    dims = len(sizes)
    tikhonov = Tikhonov(operator, dims)
    x = random_image((2, 3, *sizes), 0)
    frozen = tikhonov.frozen()
    local = frozen.local_kernels(x)
    assert local is not None
    assert local.windows.shape == (6, 1, *sizes)
    assert torch.equal(local.windows, torch.ones_like(local.windows))
    waves = torch.fft.rfftn(x.flatten(0, 1), dim=tuple(range(1, dims + 1)))
    product = transfer(local.kernels, sizes)[:, 0, 0, 0] * waves
    periodic = torch.fft.irfftn(product, s=sizes, dim=tuple(range(1, dims + 1))).reshape(x.shape)
    inside = (..., *[slice(1, -1)] * dims)
    torch.testing.assert_close(periodic[inside], frozen.value(x)[inside])
    if operator == "identity":
        torch.testing.assert_close(periodic, x)


def test_tikhonov_is_solved_in_few_evaluations_where_the_physics_says_little() -> None:
    kernel = torch.ones(1, 1, 5, 5, dtype=torch.float64) / 25
    physics = BlurFFT((1, 32, 32), filter=kernel)
    y = physics.A(random_image((1, 1, 32, 32), 0))
    equation = Equation(physics, y, Tikhonov("gradient"), 1e-3)
    needed = [
        int(solve(equation, y, solver=LBFGS(preconditioned=p), tolerance=1e-5).evaluations)
        for p in (True, False)
    ]
    assert needed[0] < 0.5 * needed[1]
