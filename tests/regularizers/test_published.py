"""Weights of LearnedRegularizers: synthetic files of its layout give the values of its formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UsageError, WeightsError
from equipoise.regularizers import from_learned_regularizers


def state(wrapped: bool = False) -> dict[str, Tensor]:
    """As ``torch.save`` of a trained ridge regulariser would hold it."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    found = {
        "scaling": 1.0 + 0.2 * normal(1, 6, 1, 1),
        "beta": torch.tensor(1.3),
        "filters.0.parametrizations.weight.original": normal(3, 1, 5, 5) + 0.5,
        "filters.1.weight": normal(4, 3, 5, 5),
        "filters.2.weight": normal(6, 4, 5, 5),
    }
    if not wrapped:
        return found
    bare = {f"regularizer.{key}": tensor for key, tensor in found.items()}
    return {"alpha": torch.tensor(0.4), "scale": torch.tensor(-0.3), **bare}


def potential(state: dict[str, Tensor], x: Tensor, convexity: float) -> Tensor:
    """The formula of the package, step by step and in float64."""
    alpha, t = (state.get(key, torch.zeros(())).double() for key in ("alpha", "scale"))
    bare = {key.removeprefix("regularizer."): v.double() for key, v in state.items()}
    first = bare["filters.0.parametrizations.weight.original"]
    filters = [first - first.mean((1, 2, 3), keepdim=True)]
    filters += [bare[f"filters.{i}.weight"] for i in (1, 2)]

    def chain(image: Tensor) -> Tensor:
        for taps in filters:
            image = F.conv2d(image, taps, padding=2)
        return image

    dirac = torch.zeros(1, 1, 25, 25, dtype=torch.float64)
    dirac[0, 0, 12, 12] = 1
    back = chain(dirac)
    for taps in reversed(filters):
        back = F.conv_transpose2d(back, taps, padding=2)
    norm = torch.fft.fft2(back, s=(256, 256)).abs().max().sqrt()
    z = bare["scaling"].exp() * chain(t.exp() * x) / norm

    def huber(u: Tensor) -> Tensor:
        return torch.where(u.abs() <= 1, u.square() / 2, u.abs() - 0.5)

    b = bare["beta"].exp()
    terms = (-2 * bare["scaling"]).exp() * (huber(b * z) / b - convexity * huber(z))
    return (alpha - 2 * t).exp() * terms.sum((1, 2, 3))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("convexity", [0.0, 1.0])
def test_values_are_those_of_the_package(wrapped: bool, convexity: float, tmp_path: Path) -> None:
    torch.save(state(wrapped), tmp_path / "w.pt")
    regularizer = from_learned_regularizers(tmp_path / "w.pt", convexity)
    x = torch.rand(2, 1, 17, 14, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = potential(state(wrapped), x.requires_grad_(), convexity)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    with torch.no_grad():
        found = regularizer.double()
        torch.testing.assert_close(found.potential(x), expected.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.field(x), gradient, rtol=1e-4, atol=1e-5)


class _Trap:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("unpickled"),))  # type: ignore[return-value]


@pytest.mark.parametrize(
    "content",
    [
        {"scaling": torch.ones(1, 6, 1, 1)},
        {**state(), "more": torch.ones(1)},
        {key: v for key, v in state().items() if key != "filters.1.weight"},
        {**state(), "beta": 3.0},
        [1, 2],
        _Trap(),
    ],
    ids=["little", "more", "gap", "number", "list", "code"],
)
def test_something_else_is_refused(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt"):
        from_learned_regularizers(tmp_path / "w.pt", 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no\.pt"):
        from_learned_regularizers(tmp_path / "no.pt", 1.0)
    (tmp_path / "w.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(WeightsError, match=r"w\.pt"):
        from_learned_regularizers(tmp_path / "w.pt", 1.0)


@pytest.mark.parametrize("convexity", [-1.0, float("nan"), float("inf")])
def test_weak_convexity_has_a_range(convexity: float, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match="weak_convexity"):
        from_learned_regularizers(tmp_path / "w.pt", convexity)
