"""Weights of CRR-NN and WCRR-NN: synthetic files of their layout give what the formulas say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UsageError, WeightsError
from equipoise.regularizers import (
    SplineRidge,
    from_crr_nn,
    from_wcrr_nn,
    load_regularizer,
    save_regularizer,
)

LAYER = "conv_layer.conv_layers."
RAW = "parametrizations.weight.original"
X = torch.rand(2, 1, 17, 14, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def generated(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wcrr() -> dict[str, Any]:
    """As the training of WCRR-NN saves it, with 21 knots instead of 101."""
    knots = torch.linspace(-0.1, 0.1, 21)
    state = {
        "mu_": torch.tensor(0.2),
        LAYER + "0." + RAW: generated(1, 3, 1, 5, 5) + 0.5,
        LAYER + "1.weight": 0.2 * generated(2, 4, 3, 5, 5),
        LAYER + "2.weight": 0.2 * generated(3, 6, 4, 5, 5),
        "activation_cvx.coefficients": (0.9 * knots.clamp(-0.05, 0.05) + 0.004 * generated(4, 21))[
            None
        ],
        "activation_ccv.coefficients": (0.5 * knots + 0.01 * generated(5, 21))[None],
        "spline_scaling.coefficients": 1.0 + 0.5 * generated(6, 6, 4),
    }
    return {"epoch": 6000, "state_dict": state, "L": torch.tensor(3.0), "optimizer_state_dict": {}}


def crr() -> dict[str, Any]:
    """As the training of CRR-NN saves it."""
    state = {
        "lmbd": torch.tensor(7.0),
        "mu": torch.tensor(0.6),
        "L": torch.tensor(1.1),
        LAYER + "0." + RAW: 0.2 * generated(1, 3, 1, 7, 7) + 0.1,
        LAYER + "1." + RAW: 0.2 * generated(2, 5, 3, 7, 7) + 0.1,
        "activation.coefficients_vect": (0.01 * generated(3, 5, 11)).flatten(),
    }
    return {"epoch": 10, "state_dict": state, "config": {"sigma": 25}, "u": torch.ones(1)}


def activation(values: Tensor, radius: float, steepest: float, odd: bool, t: Tensor) -> Tensor:
    """A sum of ramps, each clipped to its own interval, without the two outer ones."""
    knots = torch.linspace(-radius, radius, len(values), dtype=torch.float64)
    total = torch.zeros_like(t)
    for k in range(1, len(values) - 2):
        left, right = knots[k], knots[k + 1]
        slope = ((values[k + 1] - values[k]) / (right - left)).clamp(0, steepest)
        total += slope * (t.clamp(left, right) - (0 * t).clamp(left, right))
        if odd:
            total += slope * (t.clamp(-right, -left) - (0 * t).clamp(-right, -left))
    return 0.5 * total if odd else total


def chained(layers: list[Tensor], x: Tensor) -> Tensor:
    for taps in layers:
        x = F.conv2d(x, taps, padding=taps.shape[-1] // 2)
    return x


def transposed(layers: list[Tensor], z: Tensor) -> Tensor:
    for taps in reversed(layers):
        z = F.conv_transpose2d(z, taps, padding=taps.shape[-1] // 2)
    return z


def centred(taps: Tensor) -> Tensor:
    return taps - taps.mean((1, 2, 3), keepdim=True)


def wcrr_field(x: Tensor, scales: Tensor, convexity: float, square_norm: float | None) -> Tensor:
    """The field for the given scales of the channels."""
    state = {key: tensor.double() for key, tensor in wcrr()["state_dict"].items()}
    layers = [centred(state[LAYER + "0." + RAW])]
    layers += [state[f"{LAYER}{i}.weight"] for i in (1, 2)]
    if square_norm is None:
        dirac = torch.zeros(1, 1, 25, 25, dtype=torch.float64)
        dirac[0, 0, 12, 12] = 1
        kernel = transposed(layers, chained(layers, dirac))
        square_norm = float(torch.fft.fft2(kernel, s=(267, 267)).abs().max())
    s = scales.reshape(-1, 1, 1)
    z = s * chained(layers, x) / square_norm**0.5
    rising, falling = (
        activation(state[f"activation_{name}.coefficients"][0], 0.1, 1.0, True, z)
        for name in ("cvx", "ccv")
    )
    slope = state["mu_"].exp() * rising - convexity * falling
    return transposed(layers, slope / s) / square_norm**0.5


def assert_integral(regularizer: Any, x: Tensor, field: Any) -> None:
    """The potential is 0 at 0 and the integral of the field along the ray to x."""
    steps = 100
    ray = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    expected = (x * field(ray.reshape(-1, 1, 1, 1) * x)).sum() / steps
    with torch.no_grad():
        torch.testing.assert_close(regularizer.potential(x).sum(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("convexity", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("square_norm", [None, 5.0])
def test_wcrr_has_the_field_of_the_package(
    convexity: float, square_norm: float | None, tmp_path: Path
) -> None:
    torch.save(wcrr(), tmp_path / "w.pth")
    noise = 13.0 / 255  # knots at 0, 10, 20 and 30
    found = from_wcrr_nn(tmp_path / "w.pth", noise, convexity, square_norm=square_norm).double()
    table = wcrr()["state_dict"]["spline_scaling.coefficients"].double()
    scales = (0.7 * table[:, 1] + 0.3 * table[:, 2]).exp() / (13.0 + 1e-5)

    def field(x: Tensor) -> Tensor:
        return wcrr_field(x, scales, convexity, square_norm)

    with torch.no_grad():
        torch.testing.assert_close(found.field(X), field(X), rtol=1e-4, atol=1e-6)
    assert_integral(found, X[:1], field)
    assert found.traits().monotone is (convexity == 0.0)


@pytest.mark.parametrize(("noise", "knot"), [(0.0, 0), (0.04, 2), (0.06, 3)])
def test_scales_are_those_at_the_knots(noise: float, knot: int, tmp_path: Path) -> None:
    torch.save(wcrr(), tmp_path / "w.pth")
    found = from_wcrr_nn(tmp_path / "w.pth", noise, 1.0, noise_range=(0.0, 0.06)).double()
    table = wcrr()["state_dict"]["spline_scaling.coefficients"].double()
    scales = table[:, knot].exp() / (255 * noise + 1e-5)
    expected = wcrr_field(X, scales, 1.0, None)
    with torch.no_grad():
        close = {"rtol": 1e-4, "atol": 1e-5 * float(expected.abs().max())}
        torch.testing.assert_close(found.field(X), expected, **close)


def crr_field(x: Tensor, strength: float, scale: float, radius: float) -> Tensor:
    state = {key: tensor.double() for key, tensor in crr()["state_dict"].items()}
    layers = [centred(state[f"{LAYER}{i}.{RAW}"]) for i in (0, 1)]
    z = chained(layers, scale * x)
    rows = state["activation.coefficients_vect"].reshape(5, 11)
    slopes = [activation(row, radius, 1e9, False, z[:, k]) for k, row in enumerate(rows)]
    return strength * transposed(layers, torch.stack(slopes, 1))


@pytest.mark.parametrize("radius", [0.1, 0.3])
def test_crr_has_the_field_of_the_package(radius: float, tmp_path: Path) -> None:
    torch.save(crr(), tmp_path / "w.pth")
    found = from_crr_nn(tmp_path / "w.pth", radius).double()
    with torch.no_grad():
        expected = crr_field(X, 7.0, 0.6, radius)
        torch.testing.assert_close(found.field(X), expected, rtol=1e-4, atol=1e-5)
        inner = crr_field(X, 1.0, 1.0, radius)
        torch.testing.assert_close(found.regularizer.field(X), inner, rtol=1e-4, atol=1e-6)
    assert_integral(found, X[:1], lambda x: crr_field(x, 7.0, 0.6, radius))
    traits = found.traits()
    assert traits.monotone
    assert (traits.attaining, traits.bounded) == (True, True)


def test_strength_and_scale_of_crr_have_least_values(tmp_path: Path) -> None:
    content = crr()
    content["state_dict"] |= {"lmbd": torch.tensor(-1.0), "mu": torch.tensor(-1.0)}
    torch.save(content, tmp_path / "w.pth")
    found = from_crr_nn(tmp_path / "w.pth")
    assert found.scale == pytest.approx(1e-2, rel=1e-5)
    assert found.strength == pytest.approx(1e-6, rel=1e-5)


def test_what_was_read_is_saved_as_any_other(tmp_path: Path) -> None:
    torch.save(wcrr(), tmp_path / "w.pth")
    found = from_wcrr_nn(tmp_path / "w.pth", 0.1, 1.0)
    save_regularizer(tmp_path / "w.safetensors", found, {})
    again, _ = load_regularizer(tmp_path / "w.safetensors")
    assert isinstance(again, SplineRidge)
    with torch.no_grad():
        assert torch.equal(again.field(X.float()), found.field(X.float()))


def changed(content: dict[str, Any], **entries: Any) -> dict[str, Any]:
    """The file with other entries; None leaves one out."""
    state = content["state_dict"] | {key.replace("__", "."): v for key, v in entries.items()}
    return {**content, "state_dict": {k: v for k, v in state.items() if v is not None}}


def read_crr(path: Path) -> Any:
    return from_crr_nn(path)


def read_wcrr(path: Path) -> Any:
    return from_wcrr_nn(path, 0.1, 1.0)


class _Trap:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("unpickled"),))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("content", "read", "words"),
    [
        (wcrr(), read_crr, "not a ridge regulariser of this kind"),
        (crr(), read_wcrr, "not a ridge regulariser of this kind"),
        (wcrr()["state_dict"], read_wcrr, "not a checkpoint"),
        ([1, 2], read_crr, "not a checkpoint"),
        (changed(wcrr(), more=torch.ones(1)), read_wcrr, "not a ridge regulariser of this kind"),
        (changed(wcrr(), mu_=None), read_wcrr, "not a ridge regulariser of this kind"),
        (changed(wcrr(), mu_=1.0), read_wcrr, "finite numbers: mu_"),
        (changed(crr(), lmbd=torch.tensor(torch.nan)), read_crr, "finite numbers: lmbd"),
        (changed(wcrr(), **{LAYER + "1.weight": None}), read_wcrr, "has the convolutions"),
        (changed(crr(), **{LAYER + "2.weight": torch.ones(1)}), read_crr, "has the convolutions"),
        (changed(wcrr(), mu_=torch.tensor(1e3)), read_wcrr, "finite"),
        (changed(wcrr(), spline_scaling__coefficients=torch.zeros(5, 4)), read_wcrr, "read"),
        (changed(crr(), activation__coefficients_vect=torch.zeros(56)), read_crr, "read"),
        (changed(crr(), activation__coefficients_vect=torch.zeros(50)), read_crr, "even number"),
        (_Trap(), read_crr, "read"),
    ],
)
def test_something_else_is_refused(
    content: object, read: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=words) as caught:
        read(tmp_path / "w.pth")
    assert "w.pth" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize("read", [read_crr, read_wcrr])
def test_files_that_are_none(read: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no\.pth"):
        read(tmp_path / "no.pth")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise": 31 / 255}, "noise must lie in the range"),
        ({"noise": -0.01}, "noise must lie in the range"),
        ({"noise": float("nan")}, "noise must lie in the range"),
        ({"noise": 0.01, "noise_range": (0.02, 0.1)}, "noise must lie in the range"),
        ({"noise": 0.1, "noise_range": (0.1, 0.1)}, "noise must lie in the range"),
        ({"weak_convexity": -1.0}, "weak_convexity"),
        ({"radius": 0.0}, "radius"),
        ({"square_norm": 0.0}, "square_norm"),
    ],
)
def test_arguments_have_ranges(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    torch.save(wcrr(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=words):
        from_wcrr_nn(tmp_path / "w.pth", **{"noise": 0.1, "weak_convexity": 1.0, **options})


def test_the_radius_of_crr_is_positive(tmp_path: Path) -> None:
    torch.save(crr(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="radius"):
        from_crr_nn(tmp_path / "w.pth", -0.1)
