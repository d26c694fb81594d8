"""Ridge regularisers: formula, traits, published weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.io import imread
from torch import Tensor

from equipoise.convolutions.convolution import Padding
from equipoise.errors import UnknownNameError, UsageError
from equipoise.regularizers import build
from equipoise.regularizers.ridge import RidgeRegularizer
from equipoise.testing.oracles import dense_jacobian, dense_products, directional_difference
from shared_data import shared


def perturbed(
    filters: Sequence[int] = (2, 3),
    weak_convexity: float = 1.0,
    padding: Padding = "zero",
    channels: int = 1,
) -> RidgeRegularizer:
    torch.manual_seed(0)
    ridge = RidgeRegularizer(channels, filters, 3, weak_convexity, padding=padding).double()
    with torch.no_grad():
        for parameter in ridge.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return ridge


def image(channels: int = 1, batch: int = 1, contrast: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return contrast * torch.randn(batch, channels, 6, 7, generator=generator, dtype=torch.float64)


def h(t: Tensor) -> Tensor:
    return torch.where(t.abs() <= 1, 0.5 * t**2, t.abs() - 0.5)


@torch.no_grad()
def test_potential_follows_the_formula() -> None:
    ridge, x = perturbed(), image(batch=2)
    first, second = ridge.operator.weights()
    scale = ridge.profile.log_scale.exp()[:, None, None]
    slope = ridge.profile.log_slope.exp()[:, None, None]
    z = scale * F.conv2d(F.conv2d(x, first, padding=1), second, padding=1)
    expected = (scale**-2 * (h(slope * z) / slope - h(z))).flatten(1).sum(1)
    torch.testing.assert_close(ridge.potential(x), expected)


@pytest.mark.parametrize("weak_convexity", [0.0, 1.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_field_and_products(weak_convexity: float, channels: int) -> None:
    ridge = perturbed(weak_convexity=weak_convexity, channels=channels)
    x = image(channels)
    v = image(channels).cos()
    with torch.no_grad():
        slope = (ridge.field(x) * v).flatten(1).sum(1)
        difference = directional_difference(ridge.potential, x, v, 1e-6)
        torch.testing.assert_close(slope, difference, rtol=1e-5, atol=1e-8)
        value, field = ridge.frozen().potential_and_value(x)
        torch.testing.assert_close(value, ridge.potential(x))
        torch.testing.assert_close(field, ridge.field(x))
        linearization = ridge.linearize(x)
    dense = dense_jacobian(ridge, x)
    torch.testing.assert_close(dense_products(linearization.jvp, x), dense)
    torch.testing.assert_close(dense, dense.T)


@pytest.mark.parametrize("padding", ["zero", "circular"])
@pytest.mark.parametrize("filters", [(4,), (2, 3)])
@pytest.mark.parametrize("weak_convexity", [0.0, 0.5, 1.0])
def test_declared_weak_convexity_is_kept(
    weak_convexity: float, filters: Sequence[int], padding: Padding
) -> None:
    ridge = perturbed(filters, weak_convexity, padding)
    traits = ridge.traits()
    assert traits.modulus is not None
    assert traits.lipschitz is not None
    assert traits.modulus.proved
    assert traits.gradient_field
    assert traits.modulus.value == pytest.approx(-weak_convexity, abs=1e-5)
    assert traits.monotone is (weak_convexity == 0.0)
    lowest = np.inf
    for contrast in (1e-4, 0.01, 0.1, 1.0):
        spectrum = torch.linalg.eigvalsh(dense_jacobian(ridge, image(contrast=contrast)))
        assert traits.modulus.value <= float(spectrum[0]) + 1e-12
        assert float(spectrum[-1]) <= traits.lipschitz.value
        lowest = min(lowest, float(spectrum[0]))
    if weak_convexity:
        assert lowest < 0.0


def test_parameters_receive_right_gradients() -> None:
    ridge, x = perturbed(), image()
    w = image().cos()
    total = (ridge.field(x, ridge.constants()) * w).sum()
    gradients = torch.autograd.grad(total, list(ridge.parameters()))
    for parameter, gradient in zip(ridge.parameters(), gradients, strict=True):
        direction = torch.cos(torch.arange(parameter.numel()).double()).reshape(parameter.shape)
        ends = []
        with torch.no_grad():
            for step in (1e-7, -2e-7):
                parameter.add_(step * direction)
                ends.append(float((ridge.field(x) * w).sum()))
            parameter.add_(1e-7 * direction)
        numeric = (ends[0] - ends[1]) / 2e-7
        assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_configuration_and_state_make_an_equal_one() -> None:
    ridge = perturbed((2, 3), 0.5, "circular")
    arguments = {key: value for key, value in ridge.config.items() if key != "name"}
    again = RidgeRegularizer(**arguments).double()
    again.load_state_dict(ridge.state_dict())
    torch.testing.assert_close(again.field(image()), ridge.field(image()), rtol=0, atol=0)
    assert ridge.config["name"] == "ridge"


def _random_arrays() -> tuple[list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    filters = [torch.randn(2, 1, 3, 3, generator=generator).double()]
    filters.append(torch.randn(3, 2, 3, 3, generator=generator).double())
    return filters, torch.tensor([1e-3, 0.5, 2.0]).double(), torch.tensor(30.0).double()


@torch.no_grad()
def test_folded_arrays_are_taken_exactly_as_given() -> None:
    filters, weight, slope = _random_arrays()
    ridge = RidgeRegularizer.from_arrays(filters, weight, slope, 0.7)
    x = image(batch=2)
    z = F.conv2d(F.conv2d(x, filters[0], padding=1), filters[1], padding=1)
    parts = weight[:, None, None] * (h(slope * z) / slope - 0.7 * h(z))
    torch.testing.assert_close(ridge.potential(x), parts.flatten(1).sum(1))


def test_arrays_that_do_not_fit_are_refused() -> None:
    filters, weight, slope = _random_arrays()
    with pytest.raises(UsageError, match="at least one"):
        RidgeRegularizer.from_arrays([], weight, slope, 0.0)
    with pytest.raises(UsageError, match="one before"):
        RidgeRegularizer.from_arrays(filters[::-1], weight, slope, 0.0)
    with pytest.raises(UsageError, match="weight must have shape"):
        RidgeRegularizer.from_arrays(filters, weight[:2], slope, 0.0)
    with pytest.raises(UsageError, match="positive"):
        RidgeRegularizer.from_arrays(filters, -weight, slope, 0.0)
    with pytest.raises(UsageError, match="positive"):
        RidgeRegularizer.from_arrays(filters, weight, 0.0 * slope, 0.0)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="weak_convexity"):
        RidgeRegularizer(weak_convexity=-0.1)
    with pytest.raises(UsageError, match="odd"):
        RidgeRegularizer(kernel_size=4)
    with pytest.raises(UnknownNameError, match="zero"):
        RidgeRegularizer(padding="zeros")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "potential", "norm"), [("crr", 232.7017, 28.1801), ("wcrr", 201.2968, 30.1380)]
)
@torch.no_grad()
def test_published_weights(name: str, potential: float, norm: float, dtype: torch.dtype) -> None:
    picture = shared("set12/01.png")
    with np.load(shared(f"ridge_weights/{name}.npz")) as file:
        arrays = {key: torch.from_numpy(file[key]).to(dtype) for key in file.files}
    filters = [arrays[f"filter{i}"] for i in (1, 2, 3)]
    ridge = RidgeRegularizer.from_arrays(
        filters, arrays["weight"], arrays["slope"], float(arrays["weak_convexity"])
    )
    x = torch.from_numpy(imread(picture)).to(dtype)[None, None] / 255
    value, field = ridge.frozen().potential_and_value(x)
    assert float(value) == pytest.approx(potential, abs=6e-5)
    assert float(field.norm()) == pytest.approx(norm, abs=6e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "crr",
            ["operator.layers.0", "operator.layers.1", "profile.log_scale", "profile.log_slope"],
        ),
        ("fields-of-experts", ["operator.layers.0", "profile.log_weight"]),
        ("untied-conv", ["bias", "mean.layers.0", "difference.layers.0"]),
    ],
)
def test_parameters_keep_the_order_in_which_checkpoints_hold_their_moments(
    name: str, expected: list[str]
) -> None:
    assert [parameter for parameter, _ in build(name).named_parameters()] == expected
