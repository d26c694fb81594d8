"""The tied and untied pairs: products, traits, and their agreement for ``W2 = W1^T``."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.convolutions.convolution import Padding
from equipoise.errors import InputError, NoPotentialError, UnknownNameError, UsageError
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.pairs import (
    ACTIVATIONS,
    DenseTiedPair,
    DenseUntiedPair,
    TiedConvPair,
    UntiedConvPair,
)
from equipoise.regularizers.two_layer import UntiedRegularizer
from equipoise.testing.oracles import dense_jacobian, dense_products, directional_difference

SHAPE = (1, 6, 7)


def perturb(regularizer: Regularizer, size: float = 0.3) -> None:
    """Move every parameter, so that untied operators differ and biases do not vanish."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in regularizer.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(size * noise)


def make(
    kind: str, activation: str, padding: Padding = "zero", channels: int = 1, size: float = 0.3
) -> Regularizer:
    torch.manual_seed(0)
    pair: Regularizer
    if kind == "tied-conv":
        pair = TiedConvPair(channels, 5, 3, activation, padding=padding, scale=2.0)
    elif kind == "untied-conv":
        pair = UntiedConvPair(channels, 5, 3, activation, padding=padding, scale=2.0)
    elif kind == "tied-dense":
        pair = DenseTiedPair((channels, *SHAPE[1:]), 9, activation)
    else:
        pair = DenseUntiedPair((channels, *SHAPE[1:]), 9, activation)
    perturb(pair.double(), size)
    return pair


def image(channels: int = 1, batch: int = 1, contrast: float = 0.5, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, *SHAPE[1:])
    return contrast * torch.randn(shape, generator=generator, dtype=torch.float64)


KINDS = ["tied-conv", "untied-conv", "tied-dense", "untied-dense"]


@torch.no_grad()
def test_fields_follow_their_formulas() -> None:
    x = image(batch=2)
    tied = make("tied-conv", "tanh")
    filters = tied.operator.weights()[0]
    features = torch.tanh(F.conv2d(x, filters, tied.bias, padding=1))
    torch.testing.assert_close(tied.field(x), F.conv_transpose2d(features, filters, padding=1))
    untied = make("untied-conv", "relu")
    (inner,), (outer,) = untied.sides()
    features = torch.relu(F.conv2d(x, inner, untied.bias, padding=1))
    torch.testing.assert_close(untied.field(x), F.conv_transpose2d(features, outer, padding=1))
    dense = make("untied-dense", "soft-shrink")
    (inner,), (outer,) = dense.sides()
    features = F.softshrink(x.flatten(1) @ inner.T + dense.bias, 0.5)
    torch.testing.assert_close(dense.field(x), (features @ outer).reshape(x.shape))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["tied-conv", "tied-dense"])
@torch.no_grad()
def test_tied_field_is_the_gradient_of_the_potential(kind: str, activation: str) -> None:
    pair, x, v = make(kind, activation), image(batch=2), image(batch=2, seed=2)
    slope = (pair.field(x) * v).flatten(1).sum(1)
    difference = directional_difference(pair.potential, x, v)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-7)
    value, field = pair.frozen().potential_and_value(x)
    torch.testing.assert_close(value, pair.potential(x))
    torch.testing.assert_close(field, pair.field(x))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_dense_jacobian(
    kind: str, activation: str, channels: int
) -> None:
    pair, x = make(kind, activation, channels=channels), image(channels)
    with torch.no_grad():
        linearization = pair.linearize(x)
    dense = dense_jacobian(pair, x)
    torch.testing.assert_close(dense_products(linearization.jvp, x), dense)
    torch.testing.assert_close(dense_products(linearization.vjp, x), dense.T)
    symmetric = torch.allclose(dense, dense.T)
    assert symmetric is kind.startswith("tied")


@pytest.mark.parametrize("size", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("padding", ["zero", "circular"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_traits_enclose_the_spectrum(
    kind: str, activation: str, padding: Padding, size: float
) -> None:
    pair = make(kind, activation, padding, size=size)
    traits = pair.traits()
    assert traits.modulus is not None
    assert traits.lipschitz is not None
    assert traits.modulus.proved
    assert traits.lipschitz.proved
    assert traits.gradient_field is kind.startswith("tied")
    assert traits.monotone is kind.startswith("tied")
    for contrast in (1e-3, 0.5, 5.0):
        jacobian = dense_jacobian(pair, image(contrast=contrast))
        symmetric = 0.5 * (jacobian + jacobian.T)
        assert traits.modulus.value <= float(torch.linalg.eigvalsh(symmetric)[0]) + 1e-10
        assert float(torch.linalg.matrix_norm(jacobian, 2)) <= traits.lipschitz.value


@torch.no_grad()
def test_untied_modulus_vanishes_quadratically_with_the_difference() -> None:
    moduli = []
    for size in (1e-2, 1e-3):
        pair = make("untied-conv", "tanh", size=0.0)
        perturb(pair.difference, size)
        moduli.append(pair.traits().modulus.value)
    assert moduli[0] < moduli[1] < 0.0
    assert moduli[0] / moduli[1] == pytest.approx(100.0, rel=0.05)


@torch.no_grad()
def test_untied_modulus_is_nearly_attained_for_opposite_operators() -> None:
    pair = make("untied-dense", "identity", size=0.0)
    matrix = pair.mean.matrix.clone()
    pair.set_sides(matrix, -4.0 * matrix)
    modulus = pair.traits().modulus.value
    exact = -4.0 * float(torch.linalg.svdvals(matrix)[0]) ** 2
    assert modulus <= exact
    assert modulus == pytest.approx(exact, rel=1e-4)


@torch.no_grad()
def test_untied_traits_survive_an_operator_that_vanishes() -> None:
    pair = make("untied-conv", "tanh")
    inner = pair.mean.layers[0].clone()
    pair.set_sides(inner, torch.zeros_like(inner))
    traits = pair.traits()
    assert traits.lipschitz.value == pytest.approx(0.0, abs=1e-12)
    assert traits.modulus.value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["tied-conv", "tied-dense"])
@torch.no_grad()
def test_untied_made_from_tied_is_the_same_field(kind: str, activation: str) -> None:
    tied = make(kind, activation)
    untied: UntiedRegularizer
    if isinstance(tied, TiedConvPair):
        untied = UntiedConvPair.from_tied(tied)
    else:
        assert isinstance(tied, DenseTiedPair)
        untied = DenseUntiedPair.from_tied(tied)
    x, v = image(batch=2), image(batch=2, seed=2)
    torch.testing.assert_close(untied.field(x), tied.field(x), rtol=1e-13, atol=1e-13)
    one, other = untied.linearize(x), tied.linearize(x)
    torch.testing.assert_close(one.jvp(v), other.jvp(v), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(one.vjp(v), other.vjp(v), rtol=1e-13, atol=1e-13)
    assert untied.traits().modulus.value == pytest.approx(0.0, abs=1e-12)
    assert untied.traits().lipschitz.value == pytest.approx(tied.traits().lipschitz.value, rel=1e-9)


def test_untied_pairs_start_tied_and_have_no_potential() -> None:
    pair = UntiedConvPair(filters=4, kernel_size=3)
    (inner,), (outer,) = pair.sides()
    assert torch.equal(inner, outer)
    assert pair.mean.layers[0] is not pair.difference.layers[0]
    with pytest.raises(NoPotentialError):
        pair.potential(torch.zeros(1, 1, 5, 5))


def test_filters_start_with_the_scale_and_stay_zero_mean() -> None:
    pair = TiedConvPair(filters=6, kernel_size=5, scale=7.0)
    filters = pair.constants()[0]
    torch.testing.assert_close(filters.flatten(1).norm(dim=1), torch.full((6,), 7.0))
    perturb(pair.double())
    assert float(pair.constants()[0].flatten(1).sum(1).detach().abs().max()) < 1e-12
    free = TiedConvPair(filters=6, kernel_size=5, zero_mean=False).double()
    perturb(free)
    assert float(free.constants()[0].flatten(1).sum(1).detach().abs().min()) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_and_state_make_an_equal_one(kind: str) -> None:
    pair = make(kind, "relu")
    arguments = {key: value for key, value in pair.config.items() if key != "name"}
    again = type(pair)(**arguments).double()
    again.load_state_dict(pair.state_dict())
    torch.testing.assert_close(again.field(image()), pair.field(image()), rtol=0, atol=0)
    assert pair.config["name"] == pair.catalogue_name == kind


@pytest.mark.parametrize(("dims", "size"), [(1, (9,)), (3, (4, 5, 3))])
@pytest.mark.parametrize("kind", [TiedConvPair, UntiedConvPair])
def test_other_numbers_of_axes(kind: type[Regularizer], dims: int, size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    pair = kind(1, 4, 3, dims=dims).double()
    perturb(pair)
    x = 0.1 * torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1)).double()
    dense = dense_jacobian(pair, x)
    torch.testing.assert_close(dense_products(pair.linearize(x).vjp, x).detach(), dense.T)
    assert float(torch.linalg.matrix_norm(dense, 2)) <= pair.traits().lipschitz.value


def test_gray_dense_pair_acts_on_each_channel() -> None:
    pair, x = make("tied-dense", "tanh"), image(channels=3, batch=2)
    by_itself = torch.cat([pair.field(x[:, c : c + 1]) for c in range(3)], dim=1)
    torch.testing.assert_close(pair.field(x), by_itself)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="tanh"):
        TiedConvPair(activation="tan")
    with pytest.raises(UnknownNameError, match="soft-shrink"):
        DenseUntiedPair((1, 4, 4), 3, activation="soft-shrinkage")
    with pytest.raises(UsageError, match="positive"):
        UntiedConvPair(filters=0)
    with pytest.raises(UsageError, match="odd"):
        UntiedConvPair(kernel_size=2)
    with pytest.raises(UsageError, match="image_shape"):
        DenseTiedPair((4,), 3)
    with pytest.raises(InputError, match="images of one shape"):
        DenseTiedPair((1, 4, 4), 3).field(torch.zeros(1, 1, 4, 5))
    with pytest.raises(InputError, match="channels"):
        TiedConvPair(channels=3, kernel_size=3).field(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("kind", ["untied-conv", "untied-dense"])
def test_modulus_is_held_by_shrinking_the_difference_no_more_than_needed(kind: str) -> None:
    pair = make(kind, "tanh", size=1.0)
    assert isinstance(pair, UntiedRegularizer)
    inner, outer = (side.detach().clone() for side in pair.constants())
    pair.hold_modulus(-0.1)
    less, more = (side.detach() for side in pair.constants())
    share = float((more - less).norm() / (outer - inner).norm())
    assert 0.0 < share < 1.0
    torch.testing.assert_close(more - less, share * (outer - inner))
    torch.testing.assert_close(more + less, outer + inner)
    assert 0.25 * pair.mean.norm((more - less,)) ** 2 == pytest.approx(0.1, rel=1e-6)
    assert pair.traits().modulus.value >= -0.1 * (1 + 1e-9)
    before = pair.constants()[1].detach().clone()
    pair.hold_modulus(-0.2)
    torch.testing.assert_close(pair.constants()[1].detach(), before, rtol=0, atol=0)
    with pytest.raises(UsageError, match="positive modulus"):
        pair.hold_modulus(0.1)
