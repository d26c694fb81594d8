"""Which directions a tomograph sees the image from, as an object and as a user's word."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equipoise.errors import InputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

#: Parallel projections repeat, mirrored, after half a turn.
HALF_TURN = 180.0

#: Most directions; checked before memory is taken.
MOST_VIEWS = 100_000

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_TEXT = re.compile(rf"\s*(\d{{1,9}})\s*(?::\s*({_NUMBER})\s*-\s*({_NUMBER})\s*)?")


@dataclass(frozen=True)
class Views:
    """Directions ``start + k (stop - start) / count`` for k = 0, ..., count - 1, in degrees.

    The last direction stops one step short of ``stop``, so that 0 to 180 sees no direction twice.

    Args:
        count: number of directions, 1 to :data:`MOST_VIEWS`.
        start: first direction in degrees.
        stop: end of the range in degrees, above ``start`` and at most half a turn from it.

    Raises:
        InputError: if there is no direction or more than :data:`MOST_VIEWS`, or the range is empty
            or wider than half a turn.
    """

    count: int
    start: float = 0.0
    stop: float = HALF_TURN

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"Tomography needs at least one direction, got {self.count}.")
        if self.count > MOST_VIEWS:
            raise InputError(f"Tomography takes up to {MOST_VIEWS} directions, got {self.count}.")
        if not (math.isfinite(self.start) and math.isfinite(self.stop)):
            raise InputError(f"Directions are finite degrees, got {self.start} to {self.stop}.")
        if not 0.0 < self.stop - self.start <= HALF_TURN:
            raise InputError(
                f"The directions {self.start:g} to {self.stop:g} degrees must go upwards and over "
                "at most 180: parallel projections repeat after half a turn."
            )

    @property
    def description(self) -> str:
        """Phrase for reports."""
        directions = "1 direction" if self.count == 1 else f"{self.count} directions"
        return f"{directions} over {self.start:g} to {self.stop:g} degrees"

    def degrees(self) -> Tensor:
        """The directions, float64, shape (count,)."""
        import torch  # not for those who only read a user's word

        steps = torch.arange(self.count, dtype=torch.float64)
        return self.start + steps * ((self.stop - self.start) / self.count)


def views_from_text(text: str) -> Views:
    """Read ``"30"`` (30 directions over 0 to 180) or ``"60:0-120"`` (60 over 0 to 120 degrees).

    Raises:
        UsageError: if the text is of neither form.
        InputError: if there are no such directions.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"Cannot read the angles '{text}': write a number of directions (30), or a number and "
            "a range in degrees (60:0-120)."
        )
    count = int(match[1])
    return Views(count) if match[2] is None else Views(count, float(match[2]), float(match[3]))
