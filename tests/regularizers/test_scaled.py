"""Learned strength and scale: closed forms, traits, and what is handed on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.errors import NoPotentialError, UsageError
from equipoise.regularizers import (
    ContractiveResidual,
    Residual,
    RidgeRegularizer,
    Scaled,
    SmoothedTotalVariation,
    Tikhonov,
)
from equipoise.testing import check_regularizer, dense_jacobian


def image(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_scale_of_tikhonov_cancels() -> None:
    regularizer, x = Scaled(Tikhonov(), strength=3.0, scale=0.2).double(), image(2, 1, 4, 5)
    torch.testing.assert_close(regularizer.field(x), 3.0 * x)
    torch.testing.assert_close(regularizer.potential(x), 1.5 * x.square().flatten(1).sum(1))


def test_scale_of_total_variation_is_its_smoothing() -> None:
    # a/s^2 sum sqrt(|D s x|^2 + eps^2) = a/s sum sqrt(|D x|^2 + (eps/s)^2)
    x = image(2, 1, 6, 5)
    scaled = Scaled(SmoothedTotalVariation(epsilon=0.5), strength=3.0, scale=4.0).double()
    plain = SmoothedTotalVariation(epsilon=0.125)
    torch.testing.assert_close(scaled.field(x), 0.75 * plain.field(x))


def test_field_potential_and_jacobian_follow_the_formula() -> None:
    torch.manual_seed(0)
    inner = RidgeRegularizer(filters=(2, 3), kernel_size=3, weak_convexity=1.0).double()
    a, s, x = 0.7, 5.0, image(1, 1, 5, 4)
    scaled = Scaled(inner, strength=a, scale=s)
    torch.testing.assert_close(scaled.field(x), a / s * inner.field(s * x))
    torch.testing.assert_close(scaled.potential(x), a / s**2 * inner.potential(s * x))
    torch.testing.assert_close(dense_jacobian(scaled, x), a * dense_jacobian(inner, s * x))


def test_traits_are_multiplied_by_the_learned_strength() -> None:
    scaled = Scaled(ContractiveResidual(width=3, depth=1, contraction=0.9), strength=2.0)
    with torch.no_grad():
        scaled.log_strength.add_(torch.log(torch.tensor(2.0)))
    traits = scaled.traits()
    assert traits.modulus is not None
    assert traits.lipschitz is not None
    assert traits.modulus.value == pytest.approx(0.4)
    assert traits.lipschitz.value == pytest.approx(7.6)
    assert traits.modulus.kind is Kind.PROVED
    assert traits.disc


def test_unknown_traits_stay_unknown() -> None:
    traits = Scaled(Residual(torch.nn.Conv2d(1, 1, 3, padding=1))).traits()
    assert traits.modulus is None
    assert traits.lipschitz is None
    assert not traits.gradient_field


def test_inner_nature_is_handed_on() -> None:
    scaled = Scaled(ContractiveResidual(channels=3, width=3, depth=1, dims=2))
    assert (scaled.channels, scaled.dims, scaled.gradient_field) == (3, 2, False)
    assert not scaled.explicit_prior
    with pytest.raises(NoPotentialError):
        scaled.potential(torch.zeros(1, 3, 5, 5))
    assert Scaled(Tikhonov()).explicit_prior


def test_nested_scales_multiply() -> None:
    x = image(1, 1, 5, 5)
    inner = SmoothedTotalVariation(epsilon=0.3)
    nested = Scaled(Scaled(inner, 2.0, 3.0), 0.5, 4.0).double()
    once = Scaled(inner, 1.0, 12.0).double()
    torch.testing.assert_close(nested.field(x), once.field(x))
    check_regularizer(nested)


def test_dtype_of_the_inner_regulariser_is_taken() -> None:
    inner = ContractiveResidual(width=3, depth=1).double()
    assert Scaled(inner).field(image(1, 1, 4, 4)).dtype == torch.float64


@pytest.mark.parametrize("number", [0.0, -1.0, float("inf"), float("nan")])
def test_numbers_that_are_not_positive_are_refused(number: float) -> None:
    with pytest.raises(UsageError, match="positive"):
        Scaled(Tikhonov(), strength=number)
    with pytest.raises(UsageError, match="positive"):
        Scaled(Tikhonov(), scale=number)


def test_something_else_than_a_regulariser_is_refused() -> None:
    with pytest.raises(UsageError, match="got Identity"):
        Scaled(torch.nn.Identity())  # type: ignore[arg-type]
