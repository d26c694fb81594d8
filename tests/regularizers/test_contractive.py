"""Contractive residuals: the constant holds after any change of the parameters, and is attained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from equipoise.errors import UsageError
from equipoise.regularizers import ContractiveResidual
from equipoise.testing import check_regularizer, dense_jacobian


def make(seed: int = 0, **options: Any) -> ContractiveResidual:
    """A small one in float64 whose parameters are far from their initial values."""
    torch.manual_seed(seed)
    regularizer = ContractiveResidual(**{"width": 5, "depth": 3, "kernel_size": 3, **options})
    regularizer.double()
    with torch.no_grad():
        for parameter in regularizer.parameters():
            parameter.add_(torch.randn_like(parameter))
    return regularizer


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(1, 6, 7), (3, 5, 4)])
def test_network_contracts_at_every_size(seed: int, size: tuple[int, ...]) -> None:
    q = 0.9
    regularizer = make(seed, channels=size[0], contraction=q)
    eye = torch.eye(size[0] * size[1] * size[2], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for amplitude in (0.0, 0.02, 0.5):
        x = amplitude * torch.randn(1, *size, generator=generator, dtype=torch.float64)
        network = eye - dense_jacobian(regularizer, x)
        assert float(torch.linalg.matrix_norm(network, 2)) <= q


def test_contraction_constant_is_attained_by_the_identity() -> None:
    regularizer = make(contraction=0.9)
    with torch.no_grad():
        regularizer.step_logit.fill_(-40.0)  # layers become the identity
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(dense_jacobian(regularizer, x), 0.1 * torch.eye(25).double())


def test_largest_steps_reflect_and_stay_nonexpansive() -> None:
    regularizer = make(contraction=0.99, depth=1)
    with torch.no_grad():
        regularizer.step_logit.fill_(40.0)  # t = 2: x - 2 K^T K x at zero
        regularizer.bias.zero_()
    jacobian = dense_jacobian(regularizer, torch.zeros(1, 1, 12, 12, dtype=torch.float64))
    values = torch.linalg.eigvalsh(torch.eye(144).double() - jacobian)
    assert float(values[0]) < -0.8  # near -q: the bound on ||K|| is not loose
    assert float(values.abs().max()) <= 0.99


def test_deeper_ones_are_not_gradients() -> None:
    regularizer = make()
    with torch.no_grad():
        regularizer.bias.zero_()
    x = 0.02 * torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    jacobian = dense_jacobian(regularizer, x)
    skew = torch.linalg.matrix_norm(jacobian - jacobian.mT)
    assert float(skew) > 1e-3 * float(torch.linalg.matrix_norm(jacobian))


@pytest.mark.parametrize("dims", [1, 3])
def test_contract_in_other_dimensions(dims: int) -> None:
    check_regularizer(make(dims=dims, width=2, depth=2))


def test_constants_pass_the_layers() -> None:
    regularizer = make(contraction=0.9)
    with torch.no_grad():
        regularizer.bias.zero_()
        regularizer.offset.fill_(0.05)
    field = regularizer.field(torch.full((1, 1, 30, 30), 0.7, dtype=torch.float64))
    middle = field[0, 0, 12:18, 12:18]
    torch.testing.assert_close(middle, torch.full_like(middle, 0.1 * 0.7 - 0.05))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"contraction": 1.0}, "contraction"),
        ({"contraction": 0.0}, "contraction"),
        ({"kernel_size": 4}, "kernel_size"),
        ({"kernel_size": 1}, "kernel_size"),
        ({"depth": 0}, "depth"),
        ({"width": 0}, "positive"),
        ({"dims": 4}, "dims"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        ContractiveResidual(**options)
