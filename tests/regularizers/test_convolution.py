"""Convolutions in 1 to 3 axes against torch's own, their adjoints, cosine filters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from equipoise.convolutions.convolution import (
    Padding,
    check_filters,
    correlate,
    correlate_adjoint,
    dct_filters,
    zero_mean,
)
from equipoise.errors import InputError, UnknownNameError, UsageError

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
#: Multiples of the block size, non-multiples, and images smaller than a block.
SIZES = [(8, 4, 12), (6, 7, 5), (3, 9, 3)]


def _case(
    dims: int, outputs: int, channels: int, size: tuple[int, ...], kernel: int = 5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return (
        random(2, channels, *size[:dims]),
        random(outputs, channels, *[kernel] * dims),
        random(outputs),
    )


@pytest.mark.parametrize("padding", ["zero", "circular"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("outputs", [1, 2, 5, 20])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_correlation_and_adjoint(
    dims: int, outputs: int, size: tuple[int, ...], padding: Padding
) -> None:
    x, filters, bias = _case(dims, outputs, 3, size)
    if padding == "zero":
        expected = CONV[dims](x, filters, bias, padding=2)
    else:
        expected = CONV[dims](F.pad(x, [2] * 2 * dims, mode="circular"), filters, bias)
    torch.testing.assert_close(correlate(x, filters, bias, padding), expected)
    z = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    forward = (correlate(x, filters, None, padding) * z).sum()
    backward = (x * correlate_adjoint(z, filters, padding)).sum()
    assert float(forward) == pytest.approx(float(backward), rel=1e-12)


def test_filters_may_differ_in_size_along_the_axes() -> None:
    x, _, _ = _case(2, 1, 1, (9, 10))
    filters = torch.randn(1, 1, 3, 7, generator=torch.Generator().manual_seed(2)).double()
    expected = F.conv2d(x, filters, padding=(1, 3))
    torch.testing.assert_close(correlate(x, filters), expected)


def test_derivatives_through_blocks() -> None:
    x, filters, bias = _case(2, 1, 2, (6, 7), kernel=3)
    inputs = [tensor.requires_grad_() for tensor in (x, filters, bias)]
    assert torch.autograd.gradcheck(correlate, inputs)


def test_circular_padding_refuses_images_smaller_than_half_a_filter() -> None:
    x, filters, _ = _case(2, 4, 1, (2, 8), kernel=7)
    with pytest.raises(InputError, match="Circular padding"):
        correlate(x, filters, None, "circular")
    assert correlate(x, filters).shape == (2, 4, 2, 8)


def test_zero_mean_filters_ignore_constants_of_each_channel() -> None:
    filters = zero_mean(torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)))
    constant = torch.tensor([1.0, -2.0, 0.5]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert float(correlate(constant, filters, None, "circular").abs().max()) < 1e-5


@pytest.mark.parametrize(("channels", "size", "dims"), [(1, 5, 2), (3, 3, 2), (1, 3, 3), (2, 7, 1)])
def test_cosine_filters_are_orthonormal_and_zero_mean(channels: int, size: int, dims: int) -> None:
    count = channels * (size**dims - 1)
    filters = dct_filters(count, channels, size, dims)
    assert filters.shape == (count, channels, *[size] * dims)
    flat = filters.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(count), rtol=0, atol=1e-5)
    assert float(filters.flatten(2).sum(2).abs().max()) < 1e-5


def test_first_cosine_filters_have_the_lowest_frequencies() -> None:
    first, second = dct_filters(48, 1, 7)[:2].squeeze(1)
    slope = torch.cos(torch.pi * (torch.arange(7) + 0.5) / 7)
    expected = slope / slope.norm() / 7**0.5
    torch.testing.assert_close(first, expected.expand(7, 7), rtol=0, atol=1e-6)
    torch.testing.assert_close(second, expected[:, None].expand(7, 7), rtol=0, atol=1e-6)


def test_few_cosine_filters_reach_from_the_lowest_to_the_highest_frequency() -> None:
    every, few = dct_filters(24, 1, 5), dct_filters(12, 1, 5)
    torch.testing.assert_close(few[0], every[0])
    torch.testing.assert_close(few[-1], every[-1])
    gram = few.flatten(1) @ few.flatten(1).T
    torch.testing.assert_close(gram, torch.eye(12), rtol=0, atol=1e-5)


def test_filters_beyond_the_basis_are_zero_mean_and_of_unit_norm() -> None:
    torch.manual_seed(0)
    extra = dct_filters(11, 1, 3)[8:]
    torch.testing.assert_close(extra.flatten(1).norm(dim=1), torch.ones(3))
    assert float(extra.flatten(1).sum(1).abs().max()) < 1e-5
    assert not torch.allclose(extra[0], extra[1])


@pytest.mark.parametrize(
    ("channels", "filters", "kernel_size", "dims"),
    [
        (0, [4], 3, 2),
        (1, [], 3, 2),
        (1, [4, 0], 3, 2),
        (1, [4], 4, 2),
        (1, [4], 1, 2),
        (1, [4], 3, 4),
    ],
)
def test_impossible_sizes_are_refused(
    channels: int, filters: list[int], kernel_size: int, dims: int
) -> None:
    with pytest.raises(UsageError):
        check_filters(channels, filters, kernel_size, dims, "zero")


def test_unknown_padding_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="circular"):
        check_filters(1, [4], 3, 2, "circula")
