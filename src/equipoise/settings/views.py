"""Which directions a tomograph sees the image from, as an object and as a user's word."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equipoise.errors import InputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

#: Parallel projections repeat, mirrored, after half a turn.
HALF_TURN = 180.0
#: More directions than any scan has: a slip of the pen, refused before memory is asked for.
MOST = 100_000

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_TEXT = re.compile(rf"\s*(\d+)\s*(?::\s*({_NUMBER})\s*-\s*({_NUMBER})\s*)?")
_LIST = re.compile(rf"\s*{_NUMBER}\s*(?:,\s*{_NUMBER}\s*)+")


@dataclass(frozen=True)
class Views:
    """Directions ``start + k (stop - start) / count`` for k = 0, ..., count - 1, in degrees.

    The last direction stops one step short of ``stop``, so that 0 to 180 sees no direction twice.
    Over more than half a turn rays are measured twice, once from either side.

    Args:
        count: number of directions, at least 1.
        start: first direction in degrees.
        stop: end of the range in degrees, above ``start`` and at most a whole turn from it.
        listed: the directions themselves where they are not equally spaced, see :meth:`of`.

    Raises:
        InputError: if there is no direction or there are too many, or the range is empty or wider
            than a turn.
    """

    count: int
    start: float = 0.0
    stop: float = HALF_TURN
    listed: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"Tomography needs at least one direction, got {self.count}.")
        if self.count > MOST:
            raise InputError(f"Tomography takes at most {MOST} directions, got {self.count}.")
        if not all(map(math.isfinite, (self.start, self.stop, *self.listed))):
            raise InputError(f"Directions are finite degrees, got {self.start} to {self.stop}.")
        if not self.listed and not 0.0 < self.stop - self.start <= 2 * HALF_TURN:
            raise InputError(
                f"The directions {self.start:g} to {self.stop:g} degrees must go upwards and over "
                "at most 360, a whole turn."
            )

    @classmethod
    def of(cls, degrees: Sequence[float]) -> Views:
        """Directions in any order, in degrees.

        Raises:
            InputError: if there is none, there are too many, or one is not finite.
        """
        listed = tuple(float(angle) for angle in degrees)
        return cls(len(listed), min(listed, default=0.0), max(listed, default=0.0), listed)

    @property
    def covered(self) -> float:
        """How much of half a turn they are spread over, in degrees."""
        step = (self.stop - self.start) / max(1, self.count - 1) if self.listed else 0.0
        return min(HALF_TURN, self.stop - self.start + step) or HALF_TURN

    @property
    def description(self) -> str:
        """Phrase for reports."""
        directions = "1 direction" if self.count == 1 else f"{self.count} directions"
        between = "between" if self.listed else "over"
        and_ = "and" if self.listed else "to"
        return f"{directions} {between} {self.start:g} {and_} {self.stop:g} degrees"

    def degrees(self) -> Tensor:
        """The directions, float64, shape (count,)."""
        import torch  # not for those who only read a user's word

        if self.listed:
            return torch.tensor(self.listed, dtype=torch.float64)
        steps = torch.arange(self.count, dtype=torch.float64)
        return self.start + steps * ((self.stop - self.start) / self.count)


def views_from_text(text: str) -> Views:
    """Read ``"30"`` (30 directions over 0 to 180), ``"60:0-120"`` (60 over 0 to 120 degrees) or a
    list of degrees, ``"0,10,25.5"``.

    Raises:
        UsageError: if the text is of no such form.
        InputError: if there are no such directions.
    """
    if _LIST.fullmatch(text):
        return Views.of([float(angle) for angle in text.split(",")])
    match = _TEXT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"Cannot read the angles '{text[:40]}': write a number of directions (30), a number "
            "and a range in degrees (60:0-120), or a list of degrees (0,10,25.5)."
        )
    count = int(match[1][:12])  # longer ones are refused all the same
    return Views(count) if match[2] is None else Views(count, float(match[2]), float(match[3]))
