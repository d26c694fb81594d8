"""The straightforward code is the published formula, and its operations are counted rightly."""

from __future__ import annotations

import pytest
import torch
from bench_data import need_data
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.evaluation import KERNEL, WIDTHS
from benchmarks.instances import Weights, photographs, ridge
from benchmarks.straightforward import flops, straightforward, traffic
from equipoise.testing.oracles import directional_difference


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "potential", "norm"), [("crr", 232.7017, 28.1801), ("wcrr", 201.2968, 30.1380)]
)
def test_published_values(name: Weights, potential: float, norm: float, dtype: torch.dtype) -> None:
    need_data()
    x = photographs("set12", 1, dtype=dtype)[0][None]
    plain = straightforward(name, dtype)
    assert float(plain.potential(x)) == pytest.approx(potential, abs=6e-5)
    assert float(plain.gradient(x).norm()) == pytest.approx(norm, abs=6e-5)
    assert float(plain.gradient_by_autograd(x).norm()) == pytest.approx(norm, abs=6e-5)


@pytest.mark.parametrize("name", ["crr", "wcrr"])
def test_gradients_and_products_are_derivatives(name: Weights) -> None:
    need_data()
    plain = straightforward(name, torch.float64)
    x = photographs("set12", 1, 24, torch.float64)[0][None]
    v = x.flip(-1).cos()
    slope = directional_difference(plain.potential, x, v, 1e-7)
    assert float((plain.gradient(x) * v).sum()) == pytest.approx(float(slope), rel=1e-5)
    torch.testing.assert_close(plain.gradient_by_autograd(x), plain.gradient(x))
    bent = directional_difference(plain.gradient, x, v, 1e-9)
    torch.testing.assert_close(plain.product(x, v), bent, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["crr", "wcrr"])
def test_it_is_what_the_library_computes(name: Weights) -> None:
    need_data()
    plain, ours = straightforward(name, torch.float64), ridge(name, torch.float64)
    x = torch.stack(photographs("set12", 2, 40, torch.float64))
    with torch.no_grad():
        value, field = ours.frozen().potential_and_value(x)
    # The library stores logarithms of weights and slopes, in which 1e-12 is lost.
    torch.testing.assert_close(value, plain.potential(x), rtol=1e-10, atol=0)
    torch.testing.assert_close(field, plain.gradient(x), rtol=1e-9, atol=1e-10)


def test_operations_are_those_that_torch_counts() -> None:
    need_data()
    x = photographs("set12", 1, 32)[0][None]
    plain = straightforward("crr")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        plain.gradient(x)
    assert flops(WIDTHS, KERNEL, x.numel()) == counter.get_total_flops()


def test_traffic_adds_up_for_one_layer() -> None:
    # Read the image, write and read 3 channels twice (before and after the pointwise part), write.
    assert traffic((1, 3), 10) == 4 * 10 * (1 + 3 + 3 + 3 + 3 + 1)
