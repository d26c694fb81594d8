"""What the checks of the contract have in common: images, comparisons, messages."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from equipoise.randomness import normal_like
from equipoise.regularizers.base import Regularizer


def default_shape(regularizer: Regularizer) -> tuple[int, ...]:
    """Two small images that R takes."""
    if regularizer.image_shape is not None:
        return (2, *regularizer.image_shape)
    spatial = {1: (9,), 3: (4, 5, 6)}.get(regularizer.dims or 2, (8, 9))
    return (2, regularizer.channels or 1, *spatial)


def image_sizes(regularizer: Regularizer, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The shape, and smaller images of other proportions where R takes any size."""
    if regularizer.image_shape is not None:
        return [tuple(shape)]
    batch, channels, *spatial = shape
    return [tuple(shape), (batch, channels, *(max(2, n - 2 - k) for k, n in enumerate(spatial)))]


def in_double(regularizer: Regularizer) -> Regularizer:
    """A copy of R in float64."""
    return copy.deepcopy(regularizer).double()


def random_image(shape: Sequence[int], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers, the same for the same seed."""
    return normal_like(torch.empty(tuple(shape), dtype=dtype), seed)


def require(condition: bool, message: str, subject: str = "Regulariser") -> None:
    """Raise an ``AssertionError`` with the message unless the condition is met."""
    if not condition:
        raise AssertionError(clause(message, subject))


def clause(message: str, subject: str = "Regulariser") -> str:
    """A message as the contract of a subject words it."""
    return f"{subject} contract: {message}."


def close(
    found: Tensor,
    expected: Tensor,
    tolerance: float,
    message: str,
    scale: Tensor | None = None,
    subject: str = "Regulariser",
) -> None:
    """Require ``|found - expected| <= tolerance * scale``; the scale is by default the largest
    entry of either, or 1e-12 if both vanish."""
    found, expected = found.detach(), expected.detach()
    error = (found - expected).abs()
    size = torch.maximum(found.abs().max(), expected.abs().max()) if scale is None else scale
    relative = float((error / size.detach().clamp_min(1e-12)).max())
    require(relative <= tolerance, f"{message} (relative error {relative:.3g})", subject)
