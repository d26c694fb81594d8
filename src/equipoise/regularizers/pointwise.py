"""Profiles prepared for the features of one tile after another, with parameters held fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.regularizers import fused
from equipoise.regularizers.tiles import Tile

if TYPE_CHECKING:
    from equipoise.regularizers.profiles import Profile


class Pointwise:
    """What a profile does to the features of a tile; this class calls the profile itself.

    Args:
        profile: the potential psi.
    """

    #: Factors, shape (features,), that features are multiplied by beforehand: with
    #: ``u = g t`` the methods take u and give the slope and the curvature with respect to u.
    gains: Tensor | None = None

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def energy_and_slope(self, t: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
        """Sum of psi over the tile without its margin, of each sample, and the slopes."""
        value, slope = self._profile.value_and_slope(t)
        return tile.interior(value).flatten(1).sum(1), slope

    def slope(self, t: Tensor) -> Tensor:
        """The slopes; may be written over t."""
        return self._profile.slope(t)

    def curvature(self, t: Tensor) -> Tensor:
        """The curvatures."""
        return self._profile.curvature(t)


class HuberPointwise(Pointwise):
    """Differences of two Huber functions with unit curvature and thresholds of their own.

    Formula: ``sum_p H(u, inner) - w H(u, outer)`` with ``H(u, l) = c (u - c / 2)`` and
    ``c = clip(u, -l, l)``, which is also the slope of H. Compiled where that is wanted
    (:func:`equipoise.use_compiler`), otherwise in a few passes.

    Args:
        gains: factors that features are multiplied by beforehand.
        inner: threshold of the first function, shape (features,).
        outer: threshold of the second one, shape (features,).
        weight: w, shape (features,), or None: without the second function.
    """

    def __init__(self, gains: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None) -> None:
        self.gains = gains
        self._inner, self._outer, self._weight = inner, outer, weight
        self._constants = inner, outer, weight

    def energy_and_slope(self, t: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
        """Three passes over the features for one function, seven for two; t is overwritten."""
        both = fused.energies_and_slope(t, self._constants)
        if both is not None:
            energies, slope = both
            return tile.interior(energies.unsqueeze(1)).flatten(1).sum(1), slope
        first = _clip(t, self._inner)
        if self._weight is None:
            rest = t.sub_(first, alpha=0.5)
            tile.clear_margin(rest)
            return _dot(first, rest), first
        second = _clip(t, self._outer)
        rest = torch.sub(t, first, alpha=0.5)
        tile.clear_margin(rest)
        energy = _dot(first, rest)
        rest = t.sub_(second, alpha=0.5)
        tile.clear_margin(rest)
        second.mul_(_per_channel(self._weight, second))
        return energy - _dot(second, rest), first.sub_(second)

    def slope(self, t: Tensor) -> Tensor:
        """Clip; t is overwritten."""
        found = fused.slope(t, self._constants)
        if found is not None:
            return found
        if self._weight is None:
            return _clip(t, self._inner, out=t)
        second = _clip(t, self._outer).mul_(_per_channel(self._weight, t))
        return _clip(t, self._inner, out=t).sub_(second)

    def curvature(self, t: Tensor) -> Tensor:
        """1 or 0, less w or 0."""
        found = fused.curvature(t, self._constants)
        if found is not None:
            return found
        size = t.abs()
        curvature = (size < _per_channel(self._inner, t)).to(t.dtype)
        if self._weight is not None:
            bound = _per_channel(self._outer, t)
            curvature -= _per_channel(self._weight, t) * (size < bound)
        return curvature


def _clip(t: Tensor, threshold: Tensor, out: Tensor | None = None) -> Tensor:
    bound = _per_channel(threshold, t)
    return torch.clamp(t, -bound, bound, out=out)


def _per_channel(numbers: Tensor, t: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (t.dim() - 2))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each sample, over features in whatever order memory has them."""
    a, b = (v.movedim(1, -1).flatten(1) for v in (a, b))
    return torch.linalg.vecdot(a, b)
