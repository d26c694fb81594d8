"""Solutions do not depend on who else is in the batch, nor on how images lie in memory."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from deepinv.physics import Denoising
from torch import Tensor

from equipoise import Equation
from equipoise.regularizers import Regularizer, build
from equipoise.solve import LBFGS, solve
from equipoise.vectors import norm

SIZE = 32


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@cache
def ridge(dtype: torch.dtype) -> Regularizer:
    """Potentials that are nearly absolute values."""
    torch.manual_seed(0)
    field = build("ridge", filters=(2, 4), kernel_size=3).to(dtype)
    with torch.no_grad():
        field.profile.log_slope.fill_(5.0)
    return field


def mixed(dtype: torch.dtype) -> Tensor:
    """A constant, noise, edges of great and of small contrast."""
    edges = torch.nn.functional.interpolate(normal(1, 1, 4, 4, seed=1), size=SIZE)
    noise = normal(1, 1, SIZE, SIZE, seed=2)
    images = [torch.full_like(noise, 0.5), noise, 20.0 * edges, 0.3 * edges + 0.1 * noise]
    return torch.cat(images).to(dtype)


def make(y: Tensor) -> Equation:
    return Equation(Denoising(), y, ridge(y.dtype), 1.0)


@pytest.mark.parametrize("preconditioned", [True, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-8)], ids=str
)
def test_easy_and_hard_samples_do_not_disturb_each_other(
    dtype: torch.dtype, tolerance: float, preconditioned: bool
) -> None:
    y = mixed(dtype)
    solver = LBFGS(preconditioned=preconditioned)
    together = solve(make(y), y, solver, tolerance=tolerance)
    assert together.all_converged, together.summary()
    assert int(together.evaluations.max()) > 1.3 * int(together.evaluations.min())
    for i in range(len(y)):
        equation = make(y[i : i + 1])
        alone = solve(equation, y[i : i + 1], solver, tolerance=tolerance)
        assert alone.all_converged
        # E is 1-monotone, so that residuals bound distances.
        bound = alone.residual[0] + together.residual[i]
        assert float(norm(alone.x - together.x[i : i + 1])) <= 1.01 * float(bound)


@pytest.mark.parametrize("layout", ["channels last", "transposed", "strided", "expanded"])
def test_layout_does_not_matter(layout: str) -> None:
    y = mixed(torch.float64)[2:]
    if layout == "channels last":
        other = y.expand(-1, 2, -1, -1).contiguous(memory_format=torch.channels_last)[:, :1]
    elif layout == "transposed":
        other = y.mT.contiguous().mT
    elif layout == "strided":
        other = torch.stack([y, -y], dim=-1).flatten(3)[..., ::2]
    else:
        y = y[:1].repeat(2, 1, 1, 1)
        other = y[:1].expand(2, -1, -1, -1)
    assert not other.is_contiguous()
    assert torch.equal(other, y)
    plain, turned = make(y), make(other)
    expected = solve(plain, y, tolerance=1e-7)
    got = solve(turned, other, tolerance=1e-7)
    assert expected.all_converged
    assert got.all_converged
    assert int((expected.evaluations - got.evaluations).abs().max()) <= 3
    torch.testing.assert_close(got.x, expected.x, rtol=0, atol=1e-5)
