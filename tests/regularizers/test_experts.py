"""Fields of experts: formula, products and traits for every expert."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UnknownNameError, UsageError
from equipoise.regularizers.experts import EXPERTS, FieldsOfExperts
from equipoise.testing.oracles import dense_jacobian, dense_products, directional_difference


def perturbed(expert: str, **arguments: Any) -> FieldsOfExperts:
    torch.manual_seed(0)
    field = FieldsOfExperts(filters=4, kernel_size=3, expert=expert, **arguments).double()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return field


def image(channels: int = 1, batch: int = 1, contrast: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return contrast * torch.randn(batch, channels, 6, 7, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_student_potential_follows_the_formula() -> None:
    field, x = perturbed("student-t"), image(batch=2)
    filters = field.operator.weights()[0]
    weight = field.profile.log_weight.exp()[:, None, None]
    responses = F.conv2d(x, filters, padding=1)
    expected = (weight * torch.log(1 + responses**2 / 2)).flatten(1).sum(1)
    torch.testing.assert_close(field.potential(x), expected)
    assert float(filters.flatten(1).sum(1).abs().max()) < 1e-12


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("expert", EXPERTS)
def test_field_and_products(expert: str, channels: int) -> None:
    field, x = perturbed(expert, channels=channels), image(channels)
    v = image(channels).cos()
    with torch.no_grad():
        slope = (field.field(x) * v).flatten(1).sum(1)
        difference = directional_difference(field.potential, x, v)
        torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-6)
        linearization = field.linearize(x)
    dense = dense_jacobian(field, x)
    torch.testing.assert_close(dense_products(linearization.jvp, x), dense)
    torch.testing.assert_close(dense, dense.T)


@pytest.mark.parametrize("padding", ["zero", "circular"])
@pytest.mark.parametrize("expert", EXPERTS)
def test_traits_enclose_the_spectrum(expert: str, padding: str) -> None:
    field = perturbed(expert, padding=padding)
    traits = field.traits()
    assert traits.modulus is not None
    assert traits.lipschitz is not None
    assert traits.gradient_field
    assert traits.monotone is (expert != "student-t")
    for contrast in (1e-3, 0.3, 3.0):
        spectrum = torch.linalg.eigvalsh(dense_jacobian(field, image(contrast=contrast)))
        assert traits.modulus.value <= float(spectrum[0]) + 1e-10
        assert float(spectrum[-1]) <= traits.lipschitz.value
        if contrast == 1e-3:  # all curvatures are near their largest value
            assert float(spectrum[-1]) >= 0.5 * traits.lipschitz.value


def test_configuration_and_state_make_an_equal_one() -> None:
    field = perturbed("spline", padding="circular")
    arguments = {key: value for key, value in field.config.items() if key != "name"}
    again = FieldsOfExperts(**arguments).double()
    again.load_state_dict(field.state_dict())
    torch.testing.assert_close(again.field(image()), field.field(image()), rtol=0, atol=0)
    assert field.config["name"] == "fields-of-experts"


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="student-t"):
        FieldsOfExperts(expert="student")
    with pytest.raises(UsageError, match="positive"):
        FieldsOfExperts(filters=0)
    with pytest.raises(UsageError, match="odd"):
        FieldsOfExperts(kernel_size=6)
