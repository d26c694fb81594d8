"""What is evaluated at one image of each sample, once, and what rounding may hide of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.rounding import allowance
from equipoise.certify.source_condition import SourceElement, least_norm_element
from equipoise.vectors import scaled


@dataclass(frozen=True, eq=False)
class Point:
    """R and E at images, without graphs.

    Args:
        known: the constants of the equation.
        image: shape (B, C, ...).
        name: what the image is called where it is refused.

    Raises:
        InputError: if the image is not one of the equation's.
    """

    known: Hypotheses
    image: Tensor
    name: str = "x"

    def __post_init__(self) -> None:
        self.known.check_images(**{self.name: self.image})

    @cached_property
    def field(self) -> Tensor:
        """``R(x)``."""
        with torch.no_grad():
            return self.known.equation.field.value(self.image)

    @cached_property
    def element(self) -> SourceElement:
        """The least-norm source element of ``R(x)``."""
        return least_norm_element(self.known.equation.physics, self.field)

    @cached_property
    def residual(self) -> Tensor:
        """``E(x)``."""
        with torch.no_grad():
            slope = self.known.equation.data.gradient(self.image)
            return slope + scaled(self.known.alpha, self.field)

    @cached_property
    def field_rounding(self) -> Tensor:
        """Allowance for the rounding of ``R(x)``, shape (B,)."""
        return allowance(self.known.field_size(self.image, self.field), self.image.dtype)

    @cached_property
    def rounding(self) -> Tensor:
        """Allowance for the rounding of ``E(x)``, shape (B,)."""
        return self.known.rounding(self.image, self.field)
