"""Differences of two Huber functions on the features of one tile after another.

Every formula stands here twice: in a few passes over the features that need no compiler, and in one
pass for ``torch.compile``. What is compiled takes features in one shape, (rows, features, pixels),
so that images of all sizes, batches and numbers of axes share the machine code.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from equipoise.convolutions.compiling import Fused, compiling
from equipoise.convolutions.tiles import Tile

T = TypeVar("T")


class HuberPair:
    """Differences of two Huber functions with unit curvature and thresholds of their own.

    Formula: ``sum_p H(u, inner) - w H(u, outer)`` with ``H(u, l) = c (u - c / 2)`` and
    ``c = clip(u, -l, l)``, which is also the slope of H. Compiled where that is wanted
    when it is made (:func:`equipoise.use_compiler`), otherwise in a few passes.

    Args:
        gains: factors, shape (features,), that features t are multiplied by beforehand: the methods
            take ``u = g t`` and give the slope and the curvature with respect to u.
        inner: threshold of the first function, shape (features,).
        outer: threshold of the second one, shape (features,).
        weight: w, shape (features,), or None: without the second function.
    """

    def __init__(self, gains: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None) -> None:
        self.gains = gains
        self._inner, self._outer, self._weight = inner, outer, weight
        self._compiling = compiling(gains.device)

    def energy_and_slope(self, u: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
        """Sum of the energies over the tile without its margin, of each sample, and the slopes.

        Three passes over the features for one function, seven for two; u is overwritten.
        """
        both = self._compiled(compiled_energies_and_slope, u)
        if both is not None:
            energies = both[0].reshape(len(u), 1, *u.shape[2:])
            return tile.interior(energies).flatten(1).sum(1), _restored(both[1], u)
        first = _clip(u, self._inner)
        if self._weight is None:
            rest = u.sub_(first, alpha=0.5)
            return _energy(first, rest, tile), first
        second = _clip(u, self._outer)
        rest = torch.sub(u, first, alpha=0.5)
        energy = _energy(first, rest, tile)
        rest = u.sub_(second, alpha=0.5)
        second.mul_(_per_channel(self._weight, second))
        return energy - _energy(second, rest, tile), first.sub_(second)

    def slope(self, u: Tensor) -> Tensor:
        """Clip; u is overwritten."""
        rows = self._compiled(compiled_slope, u)
        if rows is not None:
            return _restored(rows, u)
        if self._weight is None:
            return _clip(u, self._inner, out=u)
        second = _clip(u, self._outer).mul_(_per_channel(self._weight, u))
        return _clip(u, self._inner, out=u).sub_(second)

    def curvature(self, u: Tensor) -> Tensor:
        """1 or 0, less w or 0."""
        rows = self._compiled(compiled_curvature, u)
        if rows is not None:
            return _restored(rows, u)
        size = u.abs()
        curvature = (size < _per_channel(self._inner, u)).to(u.dtype)
        if self._weight is not None:
            bound = _per_channel(self._outer, u)
            curvature -= _per_channel(self._weight, u) * (size < bound)
        return curvature

    def _compiled(self, function: Fused[T], u: Tensor) -> T | None:
        # What is not compiled must not pay for rows: features that are no view of them are copied.
        if not self._compiling:
            return None
        return function(_rows(u), self._inner, self._outer, self._weight)


def _clip(u: Tensor, threshold: Tensor, out: Tensor | None = None) -> Tensor:
    bound = _per_channel(threshold, u)
    return torch.clamp(u, -bound, bound, out=out)


def _per_channel(numbers: Tensor, u: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (u.dim() - 2))


def _energy(slope: Tensor, rest: Tensor, tile: Tile) -> Tensor:
    """Inner product of each sample over the tile without its margin, which is cleared in rest."""
    if not tile.whole:
        tile.clear_margin(rest)
    # over features in whatever order memory has them
    return torch.linalg.vecdot(*(v.movedim(1, -1).flatten(1) for v in (slope, rest)))


def _rows(u: Tensor) -> Tensor:
    """Features as (rows, features, pixels): a row is a pixel where channels are held last."""
    rows = u.movedim(1, -1).reshape(-1, u.shape[1], 1) if _channels_last(u) else u.flatten(2)
    return rows.detach()  # of a view, compilers look at what it is a view of


def _restored(rows: Tensor, u: Tensor) -> Tensor:
    if _channels_last(u):
        return rows.reshape(len(u), *u.shape[2:], u.shape[1]).movedim(-1, 1)
    return rows.reshape(u.shape)


def _channels_last(u: Tensor) -> bool:
    return u.dim() > 3 and u.stride(1) == 1


def _energies_and_slope(
    t: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    slope = _clipped(t, inner)
    energy = slope * (t - 0.5 * slope)
    if weight is not None:
        second = _clipped(t, outer)
        energy = energy - weight[:, None] * (second * (t - 0.5 * second))
        slope = slope - weight[:, None] * second
    return energy.sum(1), slope


def _slope(t: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None) -> Tensor:
    slope = _clipped(t, inner)
    return slope if weight is None else slope - weight[:, None] * _clipped(t, outer)


def _curvature(t: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None) -> Tensor:
    size = t.abs()
    curvature = (size < inner[:, None]).to(t.dtype)
    return curvature if weight is None else curvature - weight[:, None] * (size < outer[:, None])


def _clipped(t: Tensor, threshold: Tensor) -> Tensor:
    return torch.clamp(t, -threshold[:, None], threshold[:, None])


compiled_energies_and_slope = Fused(_energies_and_slope)
compiled_slope = Fused(_slope)
compiled_curvature = Fused(_curvature)
