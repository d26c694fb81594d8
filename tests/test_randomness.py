"""Random tensors from seeds: the same in every precision, in the order of their generator."""

from __future__ import annotations

import pytest
import torch

from equipoise.randomness import normal_like, signs_like


@pytest.mark.parametrize("draw", [normal_like, signs_like])
def test_a_seed_gives_the_same_numbers_in_every_precision(draw):
    double = draw(torch.empty(3, 5, dtype=torch.float64), 7)
    single = draw(torch.empty(3, 5), 7)
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    assert torch.equal(single, double.float())
    assert not torch.equal(double, draw(double, 8))


@pytest.mark.parametrize("draw", [normal_like, signs_like])
def test_a_generator_goes_on(draw):
    like = torch.empty(3, 5)
    generator = torch.Generator().manual_seed(7)
    first, second = draw(like, generator), draw(like, generator)
    assert torch.equal(first, draw(like, 7))
    assert not torch.equal(first, second)


def test_signs_are_fair():
    signs = signs_like(torch.empty(20_000), 0)
    assert signs.unique().tolist() == [-1.0, 1.0]
    assert abs(float(signs.mean())) < 0.03


def test_complex_numbers_have_two_normal_parts():
    z = normal_like(torch.empty(20_000, dtype=torch.complex64), 0)
    assert z.dtype == torch.complex64
    parts = torch.view_as_real(z)
    assert parts.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=0.03)
    assert parts.T.cov().flatten().tolist() == pytest.approx([1.0, 0.0, 0.0, 1.0], abs=0.03)
