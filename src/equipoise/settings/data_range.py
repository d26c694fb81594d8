"""Which numbers of a file are black and white, as an object and as a user's word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equipoise.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DataRange:
    """``v -> (v - black) / (white - black)``, from a file's numbers to those in computations.

    Noise levels of problems, alpha, PSNR and SSIM are of images on that scale.

    Args:
        black: the number that becomes 0.
        white: the number that becomes 1, above black.

    Raises:
        UsageError: if white is not above black, or one is not finite.
    """

    black: float = 0.0
    white: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and self.width > 0):
            raise UsageError(
                "A data range goes from black to a larger number, white (255, or -1000:3000), got "
                f"{self.black:g} to {self.white:g}."
            )

    @property
    def width(self) -> float:
        """``white - black``."""
        return self.white - self.black

    def __str__(self) -> str:
        return f"{self.black:g} to {self.white:g}"

    def to_unit(self, numbers: Tensor, black: Tensor | None = None) -> Tensor:
        """The file's numbers on the scale from 0 to 1.

        Args:
            numbers: images, or measurements ``A x`` of images, of any shape.
            black: for measurements ``A b`` of the image b that is black everywhere.
        """
        return (numbers - (self.black if black is None else black)) / self.width

    def from_unit(self, x: Tensor) -> Tensor:
        """Images on the scale from 0 to 1 in the file's numbers."""
        return self.black + self.width * x


def data_range_from_text(text: str) -> DataRange:
    """Read ``"255"`` (0 to 255) or ``"-1000:3000"``.

    Raises:
        UsageError: if the text is of neither form, or the range is empty.
    """
    black, _, white = text.rpartition(":")
    try:
        numbers = float(black or 0), float(white)
    except ValueError:
        raise UsageError(
            f"Cannot read the data range '{text}': write the number that is white (255), or those "
            "of black and white (-1000:3000)."
        ) from None
    return DataRange(*numbers)
