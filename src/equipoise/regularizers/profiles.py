"""Scalar potentials psi with their activations psi' and curvatures psi'', applied to features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.checks import require_not_negative, require_positive
from equipoise.convolutions.tiles import Tile
from equipoise.errors import UsageError


@dataclass(frozen=True)
class Tails:
    """How potentials behave far away; False also where nothing is known.

    Args:
        attaining: all potentials tend to infinity on both sides, or all of them are piecewise
            quadratic with finitely many pieces and bounded below. Then sums of them over affine
            functions of x, plus ``||A x - y||^2 / 2``, attain their minimum whatever A is.
        bounded_slope: all slopes are bounded.
    """

    attaining: bool = False
    bounded_slope: bool = False


class Pointwise(Protocol):
    """What is done to the features of a tile, with parameters held fixed."""

    @property
    def gains(self) -> Tensor | None:
        """Factors, shape (features,), that features are multiplied by beforehand; None: 1.

        With ``u = g t`` the methods take u and give the slope and the curvature with respect to u.
        """

    def energy_and_slope(self, t: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
        """Sum of psi over the tile without its margin, of each sample, and the slopes."""

    def slope(self, t: Tensor) -> Tensor:
        """The slopes; may be written over t."""

    def curvature(self, t: Tensor) -> Tensor:
        """The curvatures."""


class Profile(nn.Module, ABC):
    """A scalar function psi applied to every entry of features of shape (B, channels, ...).

    Learned profiles hold one parameter (or one row of parameters) per channel. All functions keep
    the shape of their argument.
    """

    @abstractmethod
    def value(self, t: Tensor) -> Tensor:
        """``psi(t)``."""

    @abstractmethod
    def slope(self, t: Tensor) -> Tensor:
        """``psi'(t)``, the activation s."""

    @abstractmethod
    def curvature(self, t: Tensor) -> Tensor:
        """``psi''(t)``; at a kink of the slope, one of its one-sided derivatives."""

    @abstractmethod
    def curvature_range(self) -> tuple[Tensor, Tensor]:
        """Proved infimum and supremum of ``psi''``, each of shape () or (channels,), float64."""

    def pairing(self, t: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        """Derivatives of ``sum u psi'(t)`` by t, by u, and by the parameters that need one.

        Override where formulas are cheaper than automatic differentiation.
        """
        parameters = [p for p in self.parameters() if p.requires_grad]
        with torch.enable_grad():
            t, u = t.detach().requires_grad_(), u.detach().requires_grad_()
            value = (u * self.slope(t)).sum()
            return torch.autograd.grad(
                value, [t, u, *parameters], allow_unused=True, materialize_grads=True
            )

    gains: Tensor | None = None

    def frozen(self) -> Pointwise:
        """The profile for its present parameters, prepared for evaluations without a graph."""
        return self

    def energy_and_slope(self, t: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
        """Sum of psi over the tile without its margin, of each sample, and the slopes."""
        value, slope = self.value_and_slope(t)
        return tile.interior(value).flatten(1).sum(1), slope

    def tails(self) -> Tails:
        """What is proved of psi far away."""
        return Tails()

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``psi(t)`` and ``psi'(t)``, sharing work."""
        return self.value(t), self.slope(t)


def per_channel(parameter: Tensor, t: Tensor) -> Tensor:
    """View (channels,) numbers so that they multiply features of shape (B, channels, ...)."""
    return parameter.reshape(-1, *[1] * (t.dim() - 2))


class _Known(Profile):
    """A profile without learned parameters, whose bounds are numbers."""

    #: Infimum and supremum of ``psi''``.
    limits: tuple[float, float]
    #: What is proved of psi far away.
    far: Tails

    def curvature_range(self) -> tuple[Tensor, Tensor]:
        """:attr:`limits`."""
        low, high = (torch.tensor(limit, dtype=torch.float64) for limit in self.limits)
        return low, high

    def tails(self) -> Tails:
        """:attr:`far`."""
        return self.far


class Quadratic(_Known):
    """``psi(t) = t^2 / 2``; the activation is the identity."""

    limits = (1.0, 1.0)
    far = Tails(attaining=True)  # grows quadratically

    def value(self, t: Tensor) -> Tensor:
        """``t^2 / 2``."""
        return 0.5 * t.square()

    def slope(self, t: Tensor) -> Tensor:
        """``t``."""
        return t

    def curvature(self, t: Tensor) -> Tensor:
        """``1``."""
        return torch.ones_like(t)


class LogCosh(_Known):
    """``psi(t) = log cosh t``; the activation is tanh."""

    limits = (0.0, 1.0)
    far = Tails(attaining=True, bounded_slope=True)  # grows linearly

    def value(self, t: Tensor) -> Tensor:
        """``log cosh t = |t| - log(1 + tanh |t|)``, which neither overflows nor cancels."""
        return self.value_and_slope(t)[0]

    def slope(self, t: Tensor) -> Tensor:
        """``tanh t``."""
        return t.tanh()

    def curvature(self, t: Tensor) -> Tensor:
        """``1 - tanh^2 t``."""
        return 1.0 - t.tanh().square()

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one tanh."""
        slope = t.tanh()
        return t.abs() - slope.abs().log1p(), slope


class HalfQuadratic(_Known):
    """``psi(t) = max(t, 0)^2 / 2``; the activation is ReLU."""

    limits = (0.0, 1.0)
    far = Tails(attaining=True)  # two quadratic pieces, not below 0

    def value(self, t: Tensor) -> Tensor:
        """``max(t, 0)^2 / 2``."""
        return 0.5 * t.relu().square()

    def slope(self, t: Tensor) -> Tensor:
        """``max(t, 0)``."""
        return t.relu()

    def curvature(self, t: Tensor) -> Tensor:
        """``1`` for ``t > 0``, else ``0``."""
        return (t > 0).to(t.dtype)


class DeadZone(_Known):
    """``psi(t) = max(|t| - threshold, 0)^2 / 2``; the activation is soft shrinkage.

    Args:
        threshold: non-negative half width of the zone without a penalty.
    """

    limits = (0.0, 1.0)
    far = Tails(attaining=True)  # grows quadratically

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        require_not_negative("threshold", threshold, UsageError)
        self.threshold = threshold

    def value(self, t: Tensor) -> Tensor:
        """``max(|t| - threshold, 0)^2 / 2``."""
        return 0.5 * self.slope(t).square()

    def slope(self, t: Tensor) -> Tensor:
        """``sign(t) max(|t| - threshold, 0)``."""
        return F.softshrink(t, self.threshold)

    def curvature(self, t: Tensor) -> Tensor:
        """``1`` outside the zone, ``0`` inside."""
        return (t.abs() > self.threshold).to(t.dtype)


class StudentT(_Known):
    """``psi(t) = log(1 + t^2 / 2)``, the expert of Roth and Black (2009); not convex."""

    limits = (-0.125, 1.0)  # at t^2 = 6, and at 0
    #: Grows like a logarithm; the slope is at most ``2^(-1/2)``.
    far = Tails(attaining=True, bounded_slope=True)

    def value(self, t: Tensor) -> Tensor:
        """``log(1 + t^2 / 2)``."""
        return (0.5 * t.square()).log1p()

    def slope(self, t: Tensor) -> Tensor:
        """``t / (1 + t^2 / 2)``."""
        return t / (1.0 + 0.5 * t.square())

    def curvature(self, t: Tensor) -> Tensor:
        """``(1 - t^2 / 2) / (1 + t^2 / 2)^2``."""
        half = 0.5 * t.square()
        return (1.0 - half) / (1.0 + half).square()


class SmoothAbs(_Known):
    """``psi(t) = sqrt(t^2 + eps^2) - eps``.

    Args:
        epsilon: positive smoothing.
    """

    far = Tails(attaining=True, bounded_slope=True)  # grows linearly

    def __init__(self, epsilon: float = 0.1) -> None:
        super().__init__()
        require_positive("epsilon", epsilon, UsageError)
        self.epsilon = epsilon
        self.limits = (0.0, 1.0 / epsilon)

    def _root(self, t: Tensor) -> Tensor:
        return (t.square() + self.epsilon**2).sqrt()

    def value(self, t: Tensor) -> Tensor:
        """``t^2 / (sqrt(t^2 + eps^2) + eps)``, the same without cancellation."""
        return t.square() / (self._root(t) + self.epsilon)

    def slope(self, t: Tensor) -> Tensor:
        """``t / sqrt(t^2 + eps^2)``."""
        return t / self._root(t)

    def curvature(self, t: Tensor) -> Tensor:
        """``eps^2 / (t^2 + eps^2)^(3/2)``."""
        return self.epsilon**2 / self._root(t).pow(3)

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one square root."""
        root = self._root(t)
        slope = t / root
        return t * t / (root + self.epsilon), slope
