"""What is drawn of a learned field, against the field itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.compare.anatomy import REACH, anatomy
from equipoise.regularizers import Regularizer, Scaled, build
from equipoise.regularizers.residual import Residual


def moved(name: str, strength: float = 0.7, scale: float = 1.6, **config: object) -> Scaled:
    """A field in float64 with random weights."""
    torch.manual_seed(0)
    inner = build(name, **config).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in inner.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise)
    return Scaled(inner, strength, scale)


def response_image(shape: Tensor) -> Tensor:
    """An image whose central response to a filter of this shape is t times the filter's norm."""
    side = shape.shape[-1]
    image = torch.zeros(1, 1, 4 * side + 1, 4 * side + 1, dtype=torch.float64)
    middle, reach = 2 * side, side // 2
    image[0, 0, middle - reach : middle + reach + 1, middle - reach : middle + reach + 1] = shape
    return image


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("tied-conv", {"filters": 1, "kernel_size": 3}),
        ("fields-of-experts", {"filters": 1, "kernel_size": 3}),
        ("crr", {"filters": (1,), "kernel_size": 3}),
        ("wcrr", {"filters": (2, 1), "kernel_size": 3}),
    ],
)
def test_profiles_are_potentials_of_the_response_to_a_unit_filter(
    name: str, config: dict[str, object]
) -> None:
    # The potential of an image is the sum of the drawn curve over all responses.
    field = moved(name, **config)
    parts = anatomy(field)
    assert parts.filters is not None
    assert parts.profiles is not None
    t, curves = parts.profiles
    assert parts.synthesis is None
    assert curves.shape == (1, len(t))
    assert t[[0, -1]].tolist() == [-REACH, REACH]
    unit = torch.from_numpy(parts.filters[0] / np.linalg.norm(parts.filters[0]))
    image = 0.7 * REACH * response_image(unit)
    responses = torch.nn.functional.conv2d(image, unit[None, None], padding=unit.shape[-1] // 2)
    assert responses.abs().max() < REACH
    drawn = np.interp(responses.numpy().ravel(), t, curves[0]).sum()
    rest = field.potential(torch.zeros_like(image))
    flat = np.interp(0.0, t, curves[0]) * responses.numel()
    found = (field.potential(image) - rest).item()
    assert found == pytest.approx(drawn - flat, rel=1e-2)


def test_filters_of_a_chain_are_what_an_impulse_sees() -> None:
    field = moved("crr", filters=(3, 4), kernel_size=3)
    parts = anatomy(field)
    assert parts.filters is not None
    assert parts.filters.shape == (4, 5, 5)
    operator, weights = field.regularizer.operator, field.regularizer.constants()
    impulse = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    impulse[0, 0, 4, 4] = 1.0
    seen = operator.apply_to(impulse, weights)[0, :, 2:7, 2:7].flip(-1, -2)
    np.testing.assert_allclose(parts.filters, seen.detach().numpy(), rtol=0, atol=1e-12)


def test_tied_pair_has_filters_and_potentials() -> None:
    field = moved("tied-conv", filters=5, kernel_size=3)
    parts = anatomy(field)
    assert parts.filters is not None
    assert parts.profiles is not None
    assert parts.filters.shape == (5, 3, 3)
    assert parts.synthesis is None
    t, curves = parts.profiles
    assert curves.shape == (5, len(t))
    assert (np.diff(curves, 2, axis=1) >= -1e-12).all()  # log cosh is convex
    heights = np.abs(curves).max(axis=1)
    assert (np.diff(heights) <= 0).all()  # the strongest first


def test_untied_pair_has_both_filters_and_activations() -> None:
    field = moved("untied-conv", filters=5, kernel_size=3)
    with torch.no_grad():
        for parameter in field.regularizer.difference.parameters():
            parameter.mul_(10.0)
    parts = anatomy(field)
    assert parts.filters is not None
    assert parts.synthesis is not None
    assert parts.profiles is not None
    inner, outer = field.regularizer.sides()
    np.testing.assert_array_equal(parts.filters, inner[0][:, 0].detach().numpy())
    np.testing.assert_array_equal(parts.synthesis, outer[0][:, 0].detach().numpy())
    assert not np.allclose(parts.filters, parts.synthesis)
    _, curves = parts.profiles
    assert (np.diff(curves, axis=1) > 0).all()  # tanh rises


def test_activation_reproduces_the_field() -> None:
    field = moved("untied-conv", filters=1, kernel_size=3)
    parts = anatomy(field)
    assert parts.filters is not None
    assert parts.synthesis is not None
    assert parts.profiles is not None
    t, curves = parts.profiles
    size = np.linalg.norm(parts.filters[0])
    unit = torch.from_numpy(parts.filters[0] / size)
    image = 0.7 * REACH * response_image(unit)
    responses = torch.nn.functional.conv2d(image, unit[None, None], padding=1)
    bent = torch.from_numpy(np.interp(responses.numpy(), t, curves[0]))
    synthesis = torch.from_numpy(parts.synthesis[0] / size)[None, None]
    expected = torch.nn.functional.conv_transpose2d(bent, synthesis, padding=1)
    found = field.field(image).detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * float(found.abs().max()))


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_filters_are_shown_as_their_means(channels: int) -> None:
    parts = anatomy(moved("tied-conv", channels=channels, filters=4, kernel_size=3))
    assert parts.filters is not None
    assert parts.filters.shape == (4, 3, 3)


def test_a_bare_field_is_drawn_as_a_scaled_one_with_ones() -> None:
    inner = moved("tied-conv", filters=3, kernel_size=3).regularizer
    bare, scaled = anatomy(inner), anatomy(Scaled(inner))
    assert bare.profiles is not None
    assert scaled.profiles is not None
    np.testing.assert_allclose(bare.profiles[1], scaled.profiles[1], rtol=1e-12)


def test_dense_fields_have_profiles_only() -> None:
    parts = anatomy(moved("tied-dense", image_shape=(1, 4, 4), features=6))
    assert parts.filters is None
    assert parts.profiles is not None
    assert parts.profiles[1].shape[0] == 6


@pytest.mark.parametrize(
    "regularizer",
    [
        Residual(torch.nn.Conv2d(1, 1, 3, padding=1)),
        Scaled(build("contractive", width=2, depth=1, kernel_size=3)),
        build("tv"),
    ],
    ids=["residual", "contractive", "tv"],
)
def test_other_fields_have_nothing_to_draw(regularizer: Regularizer) -> None:
    parts = anatomy(regularizer)
    assert parts.filters is None
    assert parts.synthesis is None
    assert parts.profiles is None
