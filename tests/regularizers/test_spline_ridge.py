"""Spline ridges: the formula, traits that follow the splines, exact numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UnknownNameError, UsageError
from equipoise.regularizers import SplineRidge, load_regularizer, save_regularizer
from equipoise.testing import check_regularizer
from equipoise.testing.oracles import dense_jacobian


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


FILTERS = [0.3 * normal(2, 1, 3, 3, seed=1), 0.3 * normal(3, 2, 3, 3, seed=2)]
WEIGHT = normal(3, seed=3).exp()


def spline(curvatures: list[float]) -> SplineRidge:
    """Three channels with the same spline on ``[-1, 1]``."""
    rows = torch.tensor(curvatures, dtype=torch.float64).expand(3, -1)
    return SplineRidge.from_arrays(FILTERS, WEIGHT, rows, 1.0)


@pytest.mark.parametrize("padding", ["zero", "circular"])
def test_numbers_mean_what_is_said(padding: str) -> None:
    """The slope is the integral of the curvatures, taken as a sum over many points."""
    curvatures, radius = normal(3, 4, seed=4), 0.5
    ridge = SplineRidge.from_arrays(FILTERS, WEIGHT, curvatures, radius, padding)  # type: ignore[arg-type]
    x = normal(2, 1, 6, 7, seed=5)
    z = x
    for taps in FILTERS:
        z = F.pad(z, (1, 1, 1, 1), mode="circular" if padding == "circular" else "constant")
        z = F.conv2d(z, taps)
    assert float(z.abs().max()) > 2 * radius  # some features lie beyond the grid
    fine = 20000
    t = (torch.arange(fine, dtype=torch.float64) + 0.5) / fine * z[..., None]
    place = ((t + radius) / (0.5 * radius)).floor().long().clamp(0, 3)
    bend = torch.stack([curvatures[k][place[:, k]] for k in range(3)], 1)
    slope = z * bend.mean(-1)
    value = z.square() * (bend * (1 - t / z[..., None])).mean(-1)
    weight = WEIGHT[:, None, None]
    with torch.no_grad():
        expected = (weight * value).sum((1, 2, 3))
        torch.testing.assert_close(ridge.potential(x), expected, rtol=1e-3, atol=1e-3)
        profile = ridge.profile.slope(z)
        torch.testing.assert_close(profile, weight * slope, rtol=1e-3, atol=1e-3)


def test_convex_where_no_curvature_is_negative() -> None:
    assert SplineRidge(filters=(2, 3)).traits().monotone
    assert spline([0.0, 2.0, 1.0, 0.0]).traits().monotone
    traits = spline([0.0, 2.0, -1e-3, 0.0]).traits()
    assert traits.monotone is False
    assert traits.modulus is not None
    assert traits.modulus.value < 0.0


def test_modulus_and_lipschitz_are_those_of_the_extreme_curvatures() -> None:
    """An image of small contrast meets the two intervals next to 0 alone."""
    for inner, modulus in (([3.0, 3.0], 0.0), ([-0.5, -0.5], None)):
        ridge = spline([0.1, *inner, 0.1])
        x = 1e-3 * normal(1, 1, 6, 7, seed=6)
        spectrum = torch.linalg.eigvalsh(dense_jacobian(ridge, x))
        traits = ridge.traits()
        assert traits.modulus is not None
        assert traits.lipschitz is not None
        assert traits.modulus.value <= float(spectrum[0]) + 1e-12
        assert float(spectrum[-1]) <= traits.lipschitz.value
        if modulus is None:
            assert float(spectrum[0]) < 0.3 * traits.modulus.value
        else:
            assert traits.modulus.value == modulus
            assert float(spectrum[-1]) > 0.3 * traits.lipschitz.value


@pytest.mark.parametrize(
    ("curvatures", "attaining", "bounded"),
    [
        ([0.0, 2.0, 2.0, 0.0], True, True),
        ([0.0, 0.0, 0.0, 0.0], True, True),
        ([0.0, 2.0, -0.1, 0.0], False, True),
        ([0.0, -0.1, 2.0, 0.0], False, True),
        ([0.0, 2.0, 2.0, 0.5], True, False),
        ([0.0, 2.0, 2.0, -0.5], False, False),
        ([0.5, -9.0, -9.0, 0.5], True, False),
    ],
)
def test_tails_are_those_of_the_splines(
    curvatures: list[float], attaining: bool, bounded: bool
) -> None:
    ridge = spline(curvatures)
    traits = ridge.traits()
    assert (traits.attaining, traits.bounded) == (attaining, bounded)
    far = 1e6 * torch.tensor([-1.0, 1.0], dtype=torch.float64).expand(1, 3, 2)
    assert bool((ridge.profile.value(far) > -1e3).all()) == attaining
    check_regularizer(ridge)


@pytest.mark.parametrize(
    "options", [{"monotone": False, "intervals": 6, "radius": 0.5}, {"channels": 3, "dims": 1}]
)
def test_files_give_back_the_same(options: dict[str, object], tmp_path: Path) -> None:
    torch.manual_seed(0)
    ridge = SplineRidge(filters=(2, 3), **options)  # type: ignore[arg-type]
    save_regularizer(tmp_path / "r.safetensors", ridge, {})
    again, _ = load_regularizer(tmp_path / "r.safetensors")
    assert isinstance(again, SplineRidge)
    assert again.config == ridge.config
    x = normal(1, ridge.config["channels"], *[9] * ridge.config["dims"]).float()
    with torch.no_grad():
        assert torch.equal(again.field(x), ridge.field(x))


def test_bad_arguments_are_refused() -> None:
    curvatures = torch.ones(3, 4)
    with pytest.raises(UsageError, match="at least one"):
        SplineRidge.from_arrays([], WEIGHT, curvatures, 1.0)
    with pytest.raises(UsageError, match="as many channels"):
        SplineRidge.from_arrays(FILTERS[::-1], WEIGHT, curvatures, 1.0)
    with pytest.raises(UsageError, match=r"\(2, 4\)"):
        SplineRidge.from_arrays(FILTERS, WEIGHT, curvatures[:2], 1.0)
    with pytest.raises(UsageError, match=r"\(2,\)"):
        SplineRidge.from_arrays(FILTERS, WEIGHT[:2], curvatures, 1.0)
    with pytest.raises(UsageError, match="positive"):
        SplineRidge.from_arrays(FILTERS, 0 * WEIGHT, curvatures, 1.0)
    with pytest.raises(UsageError, match="finite"):
        SplineRidge.from_arrays(FILTERS, WEIGHT, torch.nan * curvatures, 1.0)
    with pytest.raises(UsageError, match="even number of intervals"):
        SplineRidge.from_arrays(FILTERS, WEIGHT, curvatures[:, :3], 1.0)
    with pytest.raises(UsageError, match="radius"):
        SplineRidge(radius=0.0)
    with pytest.raises(UnknownNameError, match="circular"):
        SplineRidge(padding="cyclic")  # type: ignore[arg-type]
