"""A user's physics in the precision of the images."""

from __future__ import annotations

import pytest
import torch
from deepinv.physics import Blur, BlurFFT, LinearPhysics

from equipoise.problems import from_physics
from equipoise.problems.precision import in_precision

SHAPE = (1, 12, 12)
KERNEL = torch.tensor([[1.0, 2.0, 1.0], [2.0, 5.0, 3.0], [0.0, 1.0, 2.0]])[None, None] / 17


def tensors(physics: LinearPhysics) -> list[torch.Tensor]:
    return [*physics.parameters(), *physics.buffers()]


def real_kernel() -> Blur:
    return Blur(filter=KERNEL, padding="valid")


def transfer_function() -> BlurFFT:
    return BlurFFT(img_size=SHAPE, filter=KERNEL)


@pytest.mark.parametrize("make", [real_kernel, transfer_function])
def test_copy_in_double_applies_the_same_operator(make: type) -> None:
    single = make()
    before = [tensor.dtype for tensor in tensors(single)]
    double = in_precision(single, torch.float64)
    assert double is not single
    assert [tensor.dtype for tensor in tensors(single)] == before
    x = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    result = double.A(x.double())
    assert result.dtype == torch.float64
    torch.testing.assert_close(result, single.A(x).double(), rtol=1e-5, atol=1e-6)


def test_nothing_is_copied_where_the_precision_is_right() -> None:
    physics = real_kernel()
    assert in_precision(physics, torch.float32) is physics


def test_shared_physics_serves_both_precisions() -> None:
    shared = real_kernel()
    single = from_physics(lambda shape: shared, SHAPE, sigma=0.1)
    double = single.with_dtype(torch.float64)
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert single.physics.A(x).dtype == torch.float32
    assert double.physics.A(x.double()).dtype == torch.float64
