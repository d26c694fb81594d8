"""TF32 is kept out of convolutions on graphics processors, and out of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from equipoise.convolutions.precision import without_tf32
from equipoise.regularizers import build

CUDNN: Any = torch.backends.cudnn
CONVOLUTIONS = CUDNN.conv


def test_convolutions_are_not_rounded_on_a_graphics_processor() -> None:
    before = CONVOLUTIONS.fp32_precision, CUDNN.allow_tf32
    with without_tf32(torch.device("cuda")):
        assert CONVOLUTIONS.fp32_precision == "ieee"
        assert not CUDNN.allow_tf32  # the older switch can still be read
    assert (CONVOLUTIONS.fp32_precision, CUDNN.allow_tf32) == before


def test_the_caller_s_choice_is_restored_after_an_error() -> None:
    before = CONVOLUTIONS.fp32_precision
    with pytest.raises(RuntimeError, match="broken"), without_tf32(torch.device("cuda", 0)):
        raise RuntimeError("broken")
    assert CONVOLUTIONS.fp32_precision == before


def test_processors_are_left_alone() -> None:
    before = CONVOLUTIONS.fp32_precision
    with without_tf32(torch.device("cpu")):
        assert CONVOLUTIONS.fp32_precision == before


def test_convolutions_and_their_gradients_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(where: str) -> Callable[[torch.device], AbstractContextManager[None]]:
        return lambda device: asked.append(f"{where} {device.type}") or nullcontext()  # type: ignore[func-returns-value]

    for module in ("convolution", "sandwich_gradient"):
        monkeypatch.setattr(f"equipoise.convolutions.{module}.without_tf32", noted(module))
    regularizer = build("ridge", filters=(2, 4))
    x = torch.rand(1, 1, 12, 12)
    regularizer.frozen().value(x)
    assert set(asked) == {"convolution cpu"}
    asked.clear()
    regularizer.field(x).sum().backward()
    assert set(asked) == {"convolution cpu", "sandwich_gradient cpu"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fields_on_a_graphics_processor_are_those_of_float64() -> None:
    torch.manual_seed(0)
    narrow = build("ridge", filters=(4, 8, 64)).to("cuda")
    x = torch.rand(2, 1, 64, 64, device="cuda")
    value = narrow.frozen().value(x).double()
    exact = narrow.double().frozen().value(x.double())
    assert float((value - exact).norm() / exact.norm()) < 1e-5
