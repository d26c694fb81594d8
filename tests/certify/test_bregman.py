"""The pairing keeps its sign, and only a monotone field makes it a distance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import IMAGE, MONOTONE, Linear, dense_field, make_field, normal, scalar

from equipoise.certify import (
    absolute_bregman_distance,
    bregman_pairing,
    symmetric_bregman_distance,
)
from equipoise.errors import HypothesisError, InputError
from equipoise.vectors import dot


@given(name=st.sampled_from(MONOTONE), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_monotone_fields_have_a_distance(name: str, seed: int) -> None:
    field = make_field(name, seed)
    x, z = normal(3, *IMAGE, seed=seed), normal(3, *IMAGE, seed=seed + 1)
    distance = symmetric_bregman_distance(field, x, z)
    assert distance.shape == (3,)
    assert bool((distance >= 0).all())
    # Of a skew field the pairing is rounding.
    assert torch.allclose(distance, bregman_pairing(field, x, z), rtol=0, atol=1e-12)
    assert torch.allclose(distance, symmetric_bregman_distance(field, z, x), rtol=0, atol=1e-12)
    assert torch.equal(symmetric_bregman_distance(field, x, x), torch.zeros_like(distance))


def test_linear_fields_give_the_quadratic_form() -> None:
    matrix = normal(20, 20, seed=4)
    field = Linear(matrix, declare=False)
    x, z = normal(4, *IMAGE, seed=1), normal(4, *IMAGE, seed=2)
    d = (x - z).flatten(1)
    expected = ((d @ matrix.T) * d).sum(1)
    assert bool((expected < 0).any())
    assert torch.allclose(bregman_pairing(field, x, z), expected, rtol=1e-12)
    assert torch.allclose(absolute_bregman_distance(field, x, z), expected.abs(), rtol=1e-12)
    assert torch.allclose(dense_field(field, x[:1]), matrix)


def test_a_gradient_field_adds_both_bregman_distances_of_its_potential() -> None:
    field = make_field("crr", 3)
    x, z = normal(2, *IMAGE, seed=1), normal(2, *IMAGE, seed=2)

    def one_way(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return field.potential(a) - field.potential(b) - dot(field.field(b), a - b)

    expected = (one_way(x, z) + one_way(z, x)).detach()
    assert torch.allclose(symmetric_bregman_distance(field, x, z), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["wcrr", "untied", "network"])
def test_a_negative_number_is_never_called_a_distance(name: str) -> None:
    x, z = normal(1, *IMAGE, seed=1), normal(1, *IMAGE, seed=2)
    with pytest.raises(HypothesisError, match="use bregman_pairing"):
        symmetric_bregman_distance(make_field(name), x, z)
    with pytest.raises(HypothesisError, match=r"its modulus is -0\.5"):
        symmetric_bregman_distance(scalar(-0.5), x, z)
    assert float(bregman_pairing(scalar(-0.5), x, z)) == pytest.approx(
        -0.5 * float(dot(x - z, x - z)), rel=1e-12
    )
    assert float(absolute_bregman_distance(scalar(-0.5), x, z)) > 0


def test_points_that_do_not_match_are_refused() -> None:
    x = normal(2, *IMAGE, seed=1)
    for other in (x[:1], x.float(), x[..., :4]):
        with pytest.raises(InputError, match=r"z (has shape|is torch).* x "):
            bregman_pairing(make_field("tikhonov"), x, other)
