"""Proximal maps of fields with known constants: bounds, and the equation they solve."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equipoise.bounds import ROUNDING, proved
from equipoise.data_term import IdentityTerm
from equipoise.equilibrium import Equilibrium
from equipoise.fields import Traits
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.solve.loop import CAUTION
from equipoise.vectors import norm


class Multiple(Regularizer):
    """``R(x) = a x`` with ``r(x) = a ||x||^2 / 2``."""

    gradient_field = True

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.factor * x

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return 0.5 * self.factor * x.square().flatten(1).sum(1)

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(self.factor), lipschitz=proved(abs(self.factor)))


def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1.0, 5.0, 0.1]).double().view(3, 1, 1, 1)
    return sizes * torch.randn(3, 1, 6, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("factor", "gamma"), [(2.0, 0.7), (0.3, 8.0), (-0.5, 1.6)])
def test_the_bound_of_a_proximal_map_goes_with_one_plus_gamma_mu(
    factor: float, gamma: float
) -> None:
    x, r = images(), Multiple(factor)
    solution = r.solve_prox(x, gamma, tolerance=1e-3)
    exact = x / (1 + gamma * factor)
    assert solution.error_bound is not None
    distance = norm(solution.x - exact)
    assert bool((distance <= solution.error_bound + 1e-15).all())
    total = solution.residual + CAUTION * solution.rounding
    expected = total * (1 + ROUNDING) / (1 + gamma * factor)
    torch.testing.assert_close(solution.error_bound, expected, rtol=1e-12, atol=0)


def test_no_bound_where_the_map_is_not_known_to_be_unique() -> None:
    assert Multiple(-0.5).solve_prox(images(), 2.5).error_bound is None


def test_potential_and_residual_belong_together_and_samples_stay_themselves() -> None:
    x, z = images(), images().flip(3)
    R, gammas = Multiple(1.5), torch.full((3,), 0.4, dtype=torch.float64)
    system = Equilibrium(IdentityTerm(x), R.frozen(), gammas, R.traits())
    value, residual = system.potential_and_residual(z)
    torch.testing.assert_close(residual, z - x + 0.6 * z)
    torch.testing.assert_close(residual, system.residual(z))
    expected = 0.5 * (z - x).square().flatten(1).sum(1) + 0.3 * z.square().flatten(1).sum(1)
    torch.testing.assert_close(value, expected)
    rows = torch.tensor([2, 0])
    part = system.select(rows)
    assert part is not None
    torch.testing.assert_close(part.residual(z[rows]), residual[rows])
    torch.testing.assert_close(part.gauge.scale, system.gauge.scale[rows])
