"""The symmetry defect against dense Jacobians."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from equipoise.certify import symmetry_defect
from equipoise.regularizers import Scaled, build
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.regularizers.residual import Residual


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Linear(Regularizer):
    """``R(x) = M x``, not declared a gradient whatever M is."""

    gradient_field = False

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix)

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return (x.flatten(1) @ self.matrix.T).view_as(x)


def untied(difference: float) -> Scaled:
    inner = build("untied-conv", filters=4, kernel_size=3, scale=2.0).double()
    with torch.no_grad():
        for seed, parameter in enumerate(inner.parameters()):
            parameter.add_(0.5 * normal(*parameter.shape, seed=seed))
        for parameter in inner.difference.parameters():
            parameter.mul_(difference)
    return Scaled(inner, strength=0.7, scale=1.3)


def exact(regularizer: Regularizer, x: Tensor) -> float:
    """``||J - J^T||_F / ||J||_F``, sums over the samples."""
    top = bottom = 0.0
    for sample in x.split(1):
        j = torch.autograd.functional.jacobian(
            lambda flat, like=sample: regularizer.field(flat.view_as(like)).flatten(),
            sample.flatten(),
        ).detach()
        top += float((j - j.T).square().sum())
        bottom += float(j.square().sum())
    return math.sqrt(top / bottom)


def fields() -> dict[str, Regularizer]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(3, 1, 3, padding=1)
    ).double()
    return {"untied": untied(8.0), "residual": Residual(network)}


@pytest.mark.parametrize("name", ["untied", "residual"])
def test_estimate_agrees_with_the_dense_jacobian(name: str) -> None:
    regularizer, x = fields()[name], normal(2, 1, 5, 6, seed=4)
    truth = exact(regularizer, x)
    found = symmetry_defect(regularizer, x, probes=400)
    assert truth > 0.05
    assert found.probes == 800
    assert abs(found.value - truth) < 4 * found.standard_error
    assert 0 < found.standard_error < 0.02 * truth


def test_standard_error_is_the_spread_over_seeds() -> None:
    regularizer, x = fields()["untied"], normal(1, 1, 5, 6, seed=4)
    found = [symmetry_defect(regularizer, x, probes=8, seed=seed) for seed in range(150)]
    spread = torch.tensor([f.value for f in found]).std().item()
    stated = torch.tensor([f.standard_error for f in found]).mean().item()
    assert stated == pytest.approx(spread, rel=0.35)
    assert symmetry_defect(regularizer, x, probes=8, seed=3) == found[3]


def test_gradient_fields_have_no_defect() -> None:
    x = normal(1, 1, 5, 6, seed=4)
    declared = symmetry_defect(build("tied-conv", filters=4, kernel_size=3).double(), x)
    assert (declared.value, declared.standard_error, declared.probes) == (0.0, 0.0, 0)
    found = symmetry_defect(untied(0.0), x)  # tied, but measured
    assert found.probes > 0
    assert found.value < 1e-12


def test_skew_fields_have_defect_two_and_zero_fields_none() -> None:
    x, matrix = normal(1, 1, 4, 4, seed=4), normal(16, 16, seed=5)
    skew = symmetry_defect(Linear(matrix - matrix.T), x)
    assert skew.value == pytest.approx(2.0, rel=1e-12)
    assert skew.standard_error == pytest.approx(0.0, abs=1e-7)
    assert symmetry_defect(Linear(matrix + matrix.T), x).value < 1e-12
    assert symmetry_defect(Linear(torch.zeros(16, 16, dtype=torch.float64)), x).value == 0.0


def test_symmetric_and_skew_parts_weigh_by_their_norms() -> None:
    s, k = normal(16, 16, seed=6), normal(16, 16, seed=7)
    s, k = s + s.T, k - k.T
    field = Linear(s / s.norm() + k / k.norm())
    found = symmetry_defect(field, normal(1, 1, 4, 4, seed=4), probes=2000)
    assert found.value == pytest.approx(math.sqrt(2.0), rel=0.02)
