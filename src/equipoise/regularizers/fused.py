"""Differences of Huber functions in one pass over the features each, for ``torch.compile``.

The same formulas as in :class:`~equipoise.regularizers.pointwise.HuberPointwise`, which has them in
passes that need no compiler. They are compiled for features in one shape, (rows, features,
pixels), so that images of all sizes, batches and numbers of axes share the machine code.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from equipoise.compiling import Fused

T = TypeVar("T")
#: The two thresholds and the weight of the second function, each of shape (features,).
Constants = tuple[Tensor, Tensor, Tensor | None]


def energies_and_slope(t: Tensor, constants: Constants) -> tuple[Tensor, Tensor] | None:
    """Sums over the features at each pixel, shape (B, *spatial), and the slopes, shape of t."""
    found = _call(compiled_energies_and_slope, t, constants)
    if found is None:
        return None
    energies, slope = found
    return energies.reshape(len(t), *t.shape[2:]), _restored(slope, t)


def slope(t: Tensor, constants: Constants) -> Tensor | None:
    """The slopes, shape of t."""
    found = _call(compiled_slope, t, constants)
    return None if found is None else _restored(found, t)


def curvature(t: Tensor, constants: Constants) -> Tensor | None:
    """The curvatures, shape of t."""
    found = _call(compiled_curvature, t, constants)
    return None if found is None else _restored(found, t)


def _call(function: Fused[T], t: Tensor, constants: Constants) -> T | None:
    # What is not compiled must not pay for rows: features that are no view of them are copied.
    return function(_rows(t), *constants) if function.wanted(t.device) else None


def _rows(t: Tensor) -> Tensor:
    """Features as (rows, features, pixels): a row is a pixel where channels are held last."""
    rows = t.movedim(1, -1).reshape(-1, t.shape[1], 1) if _channels_last(t) else t.flatten(2)
    return rows.detach()  # of a view, compilers look at what it is a view of


def _restored(rows: Tensor, t: Tensor) -> Tensor:
    if _channels_last(t):
        return rows.reshape(len(t), *t.shape[2:], t.shape[1]).movedim(-1, 1)
    return rows.reshape(t.shape)


def _channels_last(t: Tensor) -> bool:
    return t.dim() > 3 and t.stride(1) == 1


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
