"""Residual operators of networks and denoisers."""

from __future__ import annotations

import pytest
import torch
from deepinv.models import DnCNN
from torch import Tensor, nn

from equipoise.errors import InputError, NoPotentialError, UsageError
from equipoise.regularizers import Residual, ResidualDenoiser
from equipoise.testing import dense_jacobian, dense_products


def image(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def convolution(channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(channels, channels, 3, padding=1).double()


def test_field_is_the_image_minus_the_network() -> None:
    network, x = convolution(), image(2, 1, 5, 6)
    torch.testing.assert_close(Residual(network).field(x), x - network(x))


def test_products_of_a_linear_network_are_its_matrix() -> None:
    network, x = convolution(), image(1, 1, 4, 5)
    zero = torch.zeros_like(x)
    matrix = torch.eye(20).double() - dense_products(lambda v: network(v) - network(zero), x)
    near = Residual(network).linearize(x)
    torch.testing.assert_close(dense_products(near.jvp, x), matrix)
    torch.testing.assert_close(dense_products(near.vjp, x), matrix.mT)


def test_gray_network_acts_on_colour_channel_by_channel() -> None:
    network, x = convolution(), image(2, 3, 5, 6)
    field = Residual(network, channels=1).field(x)
    for channel in range(3):
        one = x[:, channel : channel + 1]
        torch.testing.assert_close(field[:, channel : channel + 1], one - network(one))


def test_wrong_channels_are_refused() -> None:
    with pytest.raises(InputError, match="3 channels, got 2"):
        Residual(convolution(3), channels=3).field(image(1, 2, 5, 5))


def test_there_is_no_potential() -> None:
    with pytest.raises(NoPotentialError, match="fixed_point, anderson"):
        Residual(convolution()).potential(image(1, 1, 4, 4))


def test_network_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(InputError, match="keeps the shape"):
        Residual(nn.Conv2d(1, 1, 3).double()).field(image(1, 1, 6, 6))


def test_something_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(UsageError, match="callable"):
        Residual(3)  # type: ignore[arg-type]


def test_denoiser_receives_the_noise_level() -> None:
    x = image(2, 1, 4, 4)
    field = ResidualDenoiser(lambda z, sigma: sigma * z, 0.25).field(x)
    torch.testing.assert_close(field, 0.75 * x)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_noise_levels_that_are_not_positive_are_refused(sigma: float) -> None:
    with pytest.raises(UsageError, match="positive"):
        ResidualDenoiser(lambda z, level: z, sigma)


def test_deepinv_network_has_the_right_products() -> None:
    torch.manual_seed(0)
    denoiser = DnCNN(1, 1, depth=3, nf=4, pretrained=None).double()
    regularizer, x = ResidualDenoiser(denoiser, 0.1, channels=1), image(1, 1, 5, 6)
    dense, near = dense_jacobian(regularizer, x), regularizer.linearize(x)
    torch.testing.assert_close(dense_products(near.jvp, x), dense)
    torch.testing.assert_close(dense_products(near.vjp, x), dense.mT)
    torch.testing.assert_close(regularizer.field(x), x - denoiser(x, 0.1))
