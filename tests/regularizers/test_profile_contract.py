"""The contract of profiles: a user's own one keeps it, and wrong ones are named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from equipoise.regularizers.profiles import Profile, Tails
from equipoise.testing import check_profile


class Own(Profile):
    """A user's profile ``a log cosh t`` with a number a for each of two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1.5, 0.5]))

    def _weight(self) -> Tensor:
        return self.a[:, None]

    def value(self, t: Tensor) -> Tensor:
        return self._weight() * (t.abs() - t.tanh().abs().log1p())

    def slope(self, t: Tensor) -> Tensor:
        return self._weight() * t.tanh()

    def curvature(self, t: Tensor) -> Tensor:
        return self._weight() * (1.0 - t.tanh().square())

    def curvature_range(self) -> tuple[Tensor, Tensor]:
        high = self.a.detach().double()
        return torch.zeros_like(high), high

    def tails(self) -> Tails:
        return Tails(attaining=True, bounded_slope=True)


def test_a_profile_of_ones_own_keeps_the_contract_and_stays_as_it_was() -> None:
    profile = Own()
    check_profile(profile)
    check_profile(profile.requires_grad_(False), seed=3)
    assert profile.a.dtype == torch.float32
    assert profile.a.tolist() == [1.5, 0.5]


class Cropped(Own):
    def slope(self, t: Tensor) -> Tensor:
        return super().slope(t)[..., 1:]


class Double(Own):
    def curvature(self, t: Tensor) -> Tensor:
        return super().curvature(t).double()


class NotFinite(Own):
    """Overflows far from 0."""

    def value(self, t: Tensor) -> Tensor:
        return self._weight() * (500.0 * t).cosh().log()


class OtherSlope(Own):
    def slope(self, t: Tensor) -> Tensor:
        return 1.001 * super().slope(t)


class OtherCurvature(Own):
    def curvature(self, t: Tensor) -> Tensor:
        return 1.001 * super().curvature(t)


class Jagged(Own):
    """A slope with a kink next to every point."""

    def slope(self, t: Tensor) -> Tensor:
        return super().slope(t) + (t.remainder(1e-4) - 5e-5).abs()


class OtherTogether(Own):
    def __init__(self, value: float, slope: float) -> None:
        super().__init__()
        self.factors = (value, slope)

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = super().value_and_slope(t)
        return self.factors[0] * value, self.factors[1] * slope


class HighInfimum(Own):
    def curvature_range(self) -> tuple[Tensor, Tensor]:
        low, high = super().curvature_range()
        return low + 1e-3, high


class LowSupremum(Own):
    def curvature_range(self) -> tuple[Tensor, Tensor]:
        low, high = super().curvature_range()
        return low, high * torch.tensor([1.0, 0.99])


class SingleRange(Own):
    def curvature_range(self) -> tuple[Tensor, Tensor]:
        low, high = super().curvature_range()
        return low, high.float()


class OtherPairing(Own):
    """One derivative is wrong, or one is missing."""

    def __init__(self, wrong: int) -> None:
        super().__init__()
        self.wrong = wrong

    def pairing(self, t: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        found = super().pairing(t, u)
        if self.wrong == len(found):
            return found[:-1]
        return tuple(1.001 * v if k == self.wrong else v for k, v in enumerate(found))


class HiddenParameter(Own):
    """The value depends on a, but its derivative by a is cut off."""

    def value(self, t: Tensor) -> Tensor:
        return self.a.detach()[:, None] * (t.abs() - t.tanh().abs().log1p())


class FalseBounded(Own):
    """Grows, where nobody looks: beyond a thousand."""

    def slope(self, t: Tensor) -> Tensor:
        return super().slope(t) + 1e-3 * (t - t.clamp(-1e3, 1e3))


class FalseAttaining(Own):
    """Falls without end on one side, from a thousand on."""

    def value(self, t: Tensor) -> Tensor:
        return super().value(t) - 2.0 * (t - 1e3).relu()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (Cropped(), "slope turned"),
        (Double(), r"curvature turned .*torch.float64"),
        (NotFinite(), "value is not finite"),
        (OtherSlope(), "slope is not the derivative of value"),
        (OtherCurvature(), "curvature is not the derivative of slope"),
        (Jagged(), r"kink near \d+ %"),
        (OtherTogether(1.001, 1.0), "another value"),
        (OtherTogether(1.0, 1.001), "another slope"),
        (HighInfimum(), "curvature_range is .*occur"),
        (LowSupremum(), "curvature_range is .*occur"),
        (SingleRange(), "curvature_range has .*float32"),
        (OtherPairing(0), "by t is not u times the curvature"),
        (OtherPairing(1), "by u is not the slope"),
        (OtherPairing(2), "by parameter 0 differs"),
        (OtherPairing(3), "gives 2 derivatives"),
        (HiddenParameter(), "derivative of value by a differs"),
        (FalseBounded(), "declared bounded"),
        (FalseAttaining(), "attaining is declared"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Profile) else "",
)
def test_broken_clauses_are_named(profile: Profile, words: str) -> None:
    with pytest.raises(AssertionError, match=f"Profile contract: .*({words})"):
        check_profile(profile)
