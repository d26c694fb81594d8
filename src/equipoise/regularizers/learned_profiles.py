"""Potentials with learned parameters per channel: weights, ridge potentials, linear splines."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.convolutions.huber import HuberPair
from equipoise.errors import UsageError
from equipoise.regularizers.profiles import Profile, Tails, per_channel


class Weighted(Profile):
    """``a_k psi(t)`` with a learned positive weight per channel.

    Args:
        profile: the potential psi.
        channels: number of channels.
    """

    def __init__(self, profile: Profile, channels: int) -> None:
        super().__init__()
        self.profile = profile
        self.log_weight = nn.Parameter(torch.zeros(channels))

    def _weight(self, t: Tensor) -> Tensor:
        return per_channel(self.log_weight.exp(), t)

    def value(self, t: Tensor) -> Tensor:
        """``a psi(t)``."""
        return self._weight(t) * self.profile.value(t)

    def slope(self, t: Tensor) -> Tensor:
        """``a psi'(t)``."""
        return self._weight(t) * self.profile.slope(t)

    def curvature(self, t: Tensor) -> Tensor:
        """``a psi''(t)``."""
        return self._weight(t) * self.profile.curvature(t)

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Both, sharing the inner profile's work."""
        weight = self._weight(t)
        value, slope = self.profile.value_and_slope(t)
        return weight * value, weight * slope

    def curvature_range(self) -> tuple[Tensor, Tensor]:
        """The inner range times a."""
        weight = self.log_weight.detach().double().exp().cpu()
        low, high = self.profile.curvature_range()
        return weight * low, weight * high

    def tails(self) -> Tails:
        """As those of the inner profile: the weights are positive."""
        return self.profile.tails()


class RidgeProfile(Profile):
    """``psi(t) = a [h(b t) / b - c h(t)]``, h the Huber function, ``a = exp(-2 log_scale)``.

    On features that were multiplied by ``exp(log_scale)`` this is ``a``-free: the curvature with
    respect to the features before that lies in ``[-c, b - c]`` whatever the scale (Goujon, Neumayer
    and Unser 2024, with the potentials of Hertrich et al. 2025).

    Args:
        channels: number of channels.
        weak_convexity: c, not negative.
        scale: ``exp(log_scale)`` at the start.
        slope: b at the start.
    """

    def __init__(
        self, channels: int, weak_convexity: float, scale: float = 20.0, slope: float = 10.0
    ) -> None:
        super().__init__()
        self.weak_convexity = weak_convexity
        self.log_scale = nn.Parameter(torch.full((channels,), math.log(scale)))
        self.log_slope = nn.Parameter(torch.full((channels,), math.log(slope)))

    def _parts(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return (
            per_channel((-2.0 * self.log_scale).exp(), t),
            per_channel(self.log_slope.exp(), t),
        )

    def frozen(self) -> HuberPair:
        """As Huber functions of unit curvature: for ``u = g t`` with ``g = sqrt(a b)`` they are
        ``psi = H(u, g / b) - (c / b) H(u, g)``."""
        with torch.no_grad():
            b = self.log_slope.exp()
            gains = (0.5 * self.log_slope - self.log_scale).exp()
            weight = self.weak_convexity / b if self.weak_convexity else None
            return HuberPair(gains, gains / b, gains, weight)

    def value(self, t: Tensor) -> Tensor:
        """``psi(t)``."""
        return self.value_and_slope(t)[0]

    def slope(self, t: Tensor) -> Tensor:
        """``a [clip(b t) - c clip(t)]`` with clip to ``[-1, 1]``."""
        a, b = self._parts(t)
        slope = (b * t).clamp(-1.0, 1.0)
        if self.weak_convexity:
            slope = slope - self.weak_convexity * t.clamp(-1.0, 1.0)
        return a * slope

    def curvature(self, t: Tensor) -> Tensor:
        """``a [b 1(|b t| < 1) - c 1(|t| < 1)]``."""
        a, b = self._parts(t)
        size = t.abs()
        curvature = a * b * (b * size < 1.0)
        if self.weak_convexity:
            curvature = curvature - a * self.weak_convexity * (size < 1.0)
        return curvature

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``h(b t) / b = s (t - s / (2 b))`` with ``s = clip(b t)``."""
        # Fused where torch allows it: the features of a batch are far larger than the caches.
        a, b = self._parts(t)
        steep = (b * t).clamp(-1.0, 1.0)
        value = steep * torch.addcmul(t, steep, 0.5 / b, value=-1.0)
        if not self.weak_convexity:
            return a * value, a * steep
        flat = t.clamp(-1.0, 1.0)
        bump = torch.sub(t, flat, alpha=0.5)
        value = torch.addcmul(value, flat, bump, value=-self.weak_convexity)
        return a * value, a * torch.sub(steep, flat, alpha=self.weak_convexity)

    def pairing(self, t: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        """By formula: ``psi'`` is ``-2 psi'`` times more by log_scale, ``a b t 1(|b t| < 1)`` by
        log_slope."""
        if not (self.log_scale.requires_grad and self.log_slope.requires_grad):
            return super().pairing(t, u)
        with torch.no_grad():
            a, b = self._parts(t)
            steep = b * t
            slope, bent = steep.clamp(-1.0, 1.0), u * (steep.abs() < 1.0)
            by_slope = _over_pixels(steep.mul_(bent))  # all by a in the end
            bent *= b
            if self.weak_convexity:
                slope -= self.weak_convexity * t.clamp(-1.0, 1.0)
                bent -= self.weak_convexity * u * (t.abs() < 1.0)
            by_scale = -2.0 * _over_pixels(u * slope)
            weight = a.flatten()
            return bent.mul_(a), slope.mul_(a), weight * by_scale, weight * by_slope

    def curvature_range(self) -> tuple[Tensor, Tensor]:
        """Extremes of ``a (b - c)``, ``a b`` or ``-a c`` (between 1/b and 1), and 0."""
        a = (-2.0 * self.log_scale.detach().double()).exp().cpu()
        b = self.log_slope.detach().double().exp().cpu()
        c = self.weak_convexity
        between = torch.where(b > 1.0, -c, torch.where(b < 1.0, b, 0.0))
        values = torch.stack([b - c, between, torch.zeros_like(b)])
        return a * values.amin(0), a * values.amax(0)

    def tails(self) -> Tails:
        """Piecewise quadratic, in the end ``a (1 - c) |t|``: bounded below for ``c <= 1``."""
        return Tails(attaining=self.weak_convexity <= 1.0, bounded_slope=True)


def _over_pixels(t: Tensor) -> Tensor:
    """Sum of each channel over samples and pixels, shape (channels,)."""
    return t.movedim(1, -1).flatten(0, -2).sum(0)


class LinearSpline(Profile):
    """A learned piecewise linear activation; psi is its integral, piecewise quadratic.

    The activation vanishes at 0, is linear between the knots of a uniform grid on
    ``[-radius, radius]`` and beyond; the parameters are its slopes, that is the curvatures of psi.

    Args:
        channels: number of channels.
        intervals: even number of intervals of the grid.
        radius: positive half width of the grid.
        monotone: keep all curvatures positive (softplus of the parameters), so that psi is convex.
    """

    def __init__(
        self, channels: int, intervals: int = 20, radius: float = 3.0, *, monotone: bool = True
    ) -> None:
        super().__init__()
        if intervals < 2 or intervals % 2 or not 0 < radius < math.inf:
            raise UsageError(
                "A spline needs an even number of intervals and a positive radius, got "
                f"intervals={intervals}, radius={radius}."
            )
        self.intervals, self.radius, self.monotone = intervals, radius, monotone
        # Start as log cosh, a smooth convex potential.
        knots = torch.linspace(-radius, radius, intervals + 1, dtype=torch.float64)
        start = knots.tanh().diff() / knots.diff()
        if monotone:
            start = start.expm1().log()
        start = start.to(torch.get_default_dtype())
        self.raw = nn.Parameter(start.repeat(channels, 1))

    @property
    def _step(self) -> float:
        return 2.0 * self.radius / self.intervals

    def curvatures(self) -> Tensor:
        """``psi''`` on each interval, shape (channels, intervals)."""
        return F.softplus(self.raw) if self.monotone else self.raw

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """Value, slope at the left knot of each interval, and its curvature."""
        curvature = self.curvatures()
        middle = self.intervals // 2
        slope = F.pad(self._step * curvature.cumsum(1), (1, 0))
        slope = slope - slope[:, middle : middle + 1]
        rise = self._step * 0.5 * (slope[:, :-1] + slope[:, 1:])
        value = F.pad(rise.cumsum(1), (1, 0))
        value = value - value[:, middle : middle + 1]
        return value[:, :-1], slope[:, :-1], curvature

    def _locate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Flat index of the interval of each entry and the distance from its left knot."""
        place = ((t.detach() + self.radius) / self._step).floor().clamp(0, self.intervals - 1)
        distance = t - (place * self._step - self.radius)
        rows = torch.arange(self.raw.shape[0], device=t.device) * self.intervals
        return place.long() + per_channel(rows, t), distance

    def value(self, t: Tensor) -> Tensor:
        """``psi(t)``."""
        return self.value_and_slope(t)[0]

    def slope(self, t: Tensor) -> Tensor:
        """``psi'(t)``."""
        index, u = self._locate(t)
        _, slope, curvature = (table.flatten()[index] for table in self._tables())
        return slope + curvature * u

    def curvature(self, t: Tensor) -> Tensor:
        """``psi''(t)``."""
        index, _ = self._locate(t)
        return self.curvatures().flatten()[index]

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one look-up."""
        index, u = self._locate(t)
        value, slope, curvature = (table.flatten()[index] for table in self._tables())
        bend = curvature * u
        return value + u * (slope + 0.5 * bend), slope + bend

    def curvature_range(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest curvature of each channel."""
        curvature = self.curvatures().detach().double().cpu()
        return curvature.amin(1), curvature.amax(1)

    def tails(self) -> Tails:
        """Finitely many quadratic pieces, bounded below where the outer ones bend upwards or,
        straight, do not fall; slopes are bounded where all outer pieces are straight."""
        curvature, middle = self.curvatures().detach().double().cpu(), self.intervals // 2
        outwards = [*curvature[:, middle:].tolist(), *curvature[:, :middle].flip(1).tolist()]
        return Tails(
            attaining=all(map(_bounded_below, outwards)),
            bounded_slope=all(half[-1] == 0.0 for half in outwards),
        )


def _bounded_below(curvatures: list[float]) -> bool:
    """Whether a spline of these curvatures from 0 outwards is so on its side of 0; ``fsum`` has the
    sign of the exact sum."""
    return curvatures[-1] > 0.0 or (curvatures[-1] == 0.0 and math.fsum(curvatures) >= 0.0)
