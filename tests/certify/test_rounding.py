"""The room for rounding: always on the safe side, whatever the number."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.bounds import ROUNDING
from equipoise.certify.rounding import allowance, down, length, product, up


def test_upper_bounds_go_up_and_lower_bounds_down() -> None:
    values = torch.tensor([0.0, 1e-300, 0.3, 7e8, math.inf], dtype=torch.float64)
    assert bool((up(values)[1:4] >= values[1:4] * (1 + 0.99 * ROUNDING)).all())
    assert bool((down(values)[1:4] <= values[1:4] * (1 - 0.99 * ROUNDING)).all())
    assert bool((down(values)[1:4] >= values[1:4] * (1 - 1.01 * ROUNDING)).all())
    assert up(values)[[0, 4]].tolist() == down(values)[[0, 4]].tolist() == [0.0, math.inf]


def test_what_is_not_known_bounds_nothing() -> None:
    nothing = torch.tensor([math.nan, -0.5], dtype=torch.float64)
    assert float(up(nothing)[0]) == math.inf
    assert down(nothing).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_allowance_covers_a_sum_and_goes_with_the_precision(dtype: torch.dtype) -> None:
    terms = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    error = abs(float(terms.to(dtype).sum()) - float(terms.to(dtype).double().sum()))
    assert error <= float(allowance(terms.sum(), dtype))
    assert float(allowance(terms.sum(), dtype)) <= 100 * torch.finfo(dtype).eps * float(terms.sum())


def test_lengths_and_products_of_complex_numbers_and_of_single_precision() -> None:
    z = torch.tensor([[3.0 + 4.0j, 1.0j]], dtype=torch.complex64)
    w = torch.tensor([[1.0 + 2.0j, 5.0]], dtype=torch.complex64)
    assert length(z).dtype == product(z, w).dtype == torch.float64
    assert float(length(z)) == pytest.approx(26**0.5, rel=1e-15)
    assert float(product(z, w)) == 11.0  # the real part of conj(z) w
