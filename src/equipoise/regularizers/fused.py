"""Differences of Huber functions in one pass over the features each, for ``torch.compile``.

The same formulas as in :class:`~equipoise.regularizers.pointwise.HuberPointwise`, which has them in
passes that need no compiler. Thresholds and weights are shaped to be broadcast over features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from equipoise.compiling import Fused


def _energy_and_slope(
    t: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None, margin: Sequence[int]
) -> tuple[Tensor, Tensor]:
    first = torch.clamp(t, -inner, inner)
    energy, slope = first * (t - 0.5 * first), first
    if weight is not None:
        second = torch.clamp(t, -outer, outer)
        energy = energy - weight * (second * (t - 0.5 * second))
        slope = first - weight * second
    for axis, width in enumerate(margin, start=2):
        energy = energy.narrow(axis, width, energy.shape[axis] - 2 * width)
    return energy.sum(tuple(range(1, energy.dim()))), slope


def _slope(t: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None) -> Tensor:
    first = torch.clamp(t, -inner, inner)
    return first if weight is None else first - weight * torch.clamp(t, -outer, outer)


def _curvature(t: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None) -> Tensor:
    size = t.abs()
    curvature = (size < inner).to(t.dtype)
    return curvature if weight is None else curvature - weight * (size < outer)


def _slope_and_curvature(
    t: Tensor, inner: Tensor, outer: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    return _slope(t, inner, outer, weight), _curvature(t, inner, outer, weight)


#: Sums over the features without their margin, of each sample, and the slopes.
energy_and_slope = Fused(_energy_and_slope)
slope = Fused(_slope)
curvature = Fused(_curvature)
slope_and_curvature = Fused(_slope_and_curvature)
