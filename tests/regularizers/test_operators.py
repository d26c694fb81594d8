"""Analysis operators: adjoints, normalisation and proved norms against dense matrices."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.convolutions.convolution import Padding
from equipoise.convolutions.norm import convolution_norm
from equipoise.errors import InputError, UsageError
from equipoise.regularizers.operators import (
    AnalysisOperator,
    ConvolutionChain,
    DenseOperator,
    Weights,
)


def matrix(operator: AnalysisOperator, weights: Weights, shape: tuple[int, ...]) -> torch.Tensor:
    basis = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).reshape(-1, *shape)
    return operator.apply_to(basis, weights).flatten(1).T


def random_chain(
    filters: tuple[int, ...], padding: Padding, channels: int = 1, normalized: bool = False
) -> ConvolutionChain:
    torch.manual_seed(0)
    chain = ConvolutionChain(channels, filters, 3, padding=padding, normalized=normalized).double()
    with torch.no_grad():
        for layer in chain.layers:
            layer.add_(0.3 * torch.randn_like(layer))
    return chain


@pytest.mark.parametrize("padding", ["zero", "circular"])
@pytest.mark.parametrize("filters", [(1,), (6,), (2, 3), (2, 3, 5)])
@pytest.mark.parametrize("channels", [1, 2])
@torch.no_grad()
def test_norm_dominates_the_dense_matrix_and_the_adjoint_is_its_transpose(
    filters: tuple[int, ...], padding: Padding, channels: int
) -> None:
    chain = random_chain(filters, padding, channels)
    weights = chain.weights()
    dense = matrix(chain, weights, (channels, 8, 7))
    largest = float(torch.linalg.matrix_norm(dense, 2))
    bound = chain.norm(weights)
    assert largest <= bound
    if len(filters) == 1 or padding == "circular":
        assert bound <= 1.25 * largest
    basis = torch.eye(dense.shape[0], dtype=torch.float64).reshape(-1, filters[-1], 8, 7)
    torch.testing.assert_close(chain.adjoint(basis, weights).flatten(1).T, dense.T)


@pytest.mark.parametrize("padding", ["zero", "circular"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("filters", [(5,), (2, 4)])
@pytest.mark.parametrize("size", [(3, 4), (8, 8), (12, 5)])
@torch.no_grad()
def test_normalized_chains_have_norm_at_most_one_for_every_size(
    filters: tuple[int, ...], size: tuple[int, int], channels: int, padding: Padding
) -> None:
    chain = random_chain(filters, padding, channels, normalized=True)
    weights = chain.weights()
    dense = matrix(chain, weights, (channels, *size))
    assert float(torch.linalg.matrix_norm(dense, 2)) <= 1.0
    assert chain.norm(weights) == pytest.approx(1.0, rel=1e-6)


@torch.no_grad()
def test_circular_chains_use_what_normalisation_allows() -> None:
    """On one large grid the norm is nearly 1, which a product of bounds would not reach."""
    chain = random_chain((2, 3, 5), "circular", normalized=True)
    weights = chain.weights()
    assert float(torch.linalg.matrix_norm(matrix(chain, weights, (1, 16, 15)), 2)) >= 0.97
    product = math.prod(float(convolution_norm(layer)) for layer in weights)
    assert product > 1.1


@pytest.mark.parametrize("padding", ["zero", "circular"])
def test_normalisation_is_differentiated(padding: Padding) -> None:
    chain = random_chain((3, 4), padding, normalized=True)

    def total() -> torch.Tensor:
        waves = (w * torch.sin(torch.arange(w.numel())).reshape(w.shape) for w in chain.weights())
        return torch.stack([wave.sum() for wave in waves]).sum()

    gradients = torch.autograd.grad(total(), list(chain.layers))
    for layer, gradient in zip(chain.layers, gradients, strict=True):
        direction = torch.cos(torch.arange(layer.numel()).double()).reshape(layer.shape)
        ends = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                layer.add_(step * direction)
                ends.append(float(total()))
        numeric = (ends[0] - ends[1]) / 2e-6
        with torch.no_grad():
            layer.add_(1e-6 * direction)
        assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=1e-6)


@torch.no_grad()
def test_zero_filters_stay_zero_when_normalized() -> None:
    chain = ConvolutionChain(1, (3,), 3, normalized=True)
    chain.layers[0].zero_()
    assert float(chain.weights()[0].abs().max()) == 0.0


@torch.no_grad()
def test_gains_multiply_the_rows() -> None:
    chain = random_chain((2, 3), "zero")
    gains = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    weights = chain.weights()
    x = torch.randn(1, 1, 5, 6, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(
        chain.apply_to(x, chain.weighted(weights, gains)),
        gains.reshape(1, 3, 1, 1) * chain.apply_to(x, weights),
    )


@torch.no_grad()
def test_dense_operator_is_its_matrix() -> None:
    torch.manual_seed(0)
    operator = DenseOperator((2, 3, 4), 7, scale=3.0).double()
    weights = operator.weights()
    dense = matrix(operator, weights, (2, 3, 4))
    torch.testing.assert_close(dense, operator.matrix)
    torch.testing.assert_close(dense.norm(dim=1), torch.full((7,), 3.0, dtype=torch.float64))
    z = torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(operator.adjoint(z, weights).flatten(1), dense)
    exact = float(torch.linalg.svdvals(dense)[0])
    assert exact <= operator.norm(weights) <= exact * (1 + 2e-6)
    with pytest.raises(InputError, match="images of one shape"):
        operator.apply_to(torch.zeros(1, 2, 4, 3, dtype=torch.float64), weights)


@pytest.mark.parametrize(("shape", "features"), [((5,), 3), ((1, 0, 4), 3), ((1, 4, 4), 0)])
def test_impossible_dense_shapes_are_refused(shape: tuple[int, ...], features: int) -> None:
    with pytest.raises(UsageError):
        DenseOperator(shape, features)
