"""Whether the numbers of an image are on the scale that was taken for granted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.settings.data_range import DataRange

#: Data are far from the range that is expected if they reach so many ranges beyond it,
BEYOND = 1.0
#: or spread over less than this share of it.
NARROW = 0.2
#: Share of the pixels on either side that is not looked at.
TAIL = 0.005
#: What white is in most files; noise may go beyond it by a tenth.
USUAL_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)


def values_of(x: Tensor) -> tuple[float, float]:
    """Between which numbers nearly all pixels lie (all but half a percent on either side)."""
    flat = x.detach().flatten().double()
    if len(flat) > 2**20:
        flat = flat[:: len(flat) // 2**20]
    low, high = torch.quantile(flat, torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64)).tolist()
    return low, high


def far_from(
    x: Tensor,
    data_range: DataRange,
    learned: tuple[float, float] = (0.0, 1.0),
    noise: float = 0.0,
) -> str | None:
    """A sentence where the numbers of an image cannot be on the scale that R is for.

    Args:
        x: an image on the scale from 0 to 1 of ``data_range``.
        data_range: with which it was brought there.
        learned: between which numbers the images lay that R was learned from.
        noise: standard deviation of the noise that x contains.

    Returns:
        What is odd and what to do, or None.
    """
    low, high = values_of(x)
    least, most = min(learned[0], 0.0), max(learned[1], 1.0)
    span = most - least
    margin = BEYOND * span + 3 * noise
    beyond = low < least - margin or high > most + margin
    narrow = high - low < NARROW * span
    if not (beyond or narrow):
        return None
    numbers = tuple(data_range.black + data_range.width * value for value in (low, high))
    share = "" if beyond else f", which is {100 * (high - low) / span:.2g} % of it"
    return (
        f"Warning: the pixels lie between {numbers[0]:.4g} and {numbers[1]:.4g}{share}, but black "
        f"to white was taken for {data_range}: if that is not so, say it with --data-range "
        f"{_guess(*numbers)}. What was learned for one range does too little or too much in others."
    )


def _guess(low: float, high: float) -> str:
    """A range that these numbers may be of."""
    white = next((white for white in USUAL_WHITES if 1.1 * white >= high), math.ceil(high))
    return f"{white:g}" if low >= -0.1 * white else f"{math.floor(low):g}:{white:g}"
