"""R with its parameters held fixed: constants folded once, evaluated many times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.circulant import LocalKernels
from equipoise.regularizers.linearization import Linearization

if TYPE_CHECKING:
    from equipoise.regularizers.base import Constants, Regularizer


class FrozenField:
    """R for its parameters at the time it was frozen, without graphs; made by ``R.frozen()``.

    Subclasses replace the methods with an underscore, which see images with R's own number of
    channels, by faster ones that give the same up to rounding.

    Args:
        regularizer: the field R.
        constants: its constants, detached.
    """

    def __init__(self, regularizer: Regularizer, constants: Constants) -> None:
        self.regularizer, self.constants = regularizer, constants

    @torch.no_grad()
    def field(self, x: Tensor) -> Tensor:
        """``R(x)``, shape of x.

        Raises:
            InputError: if x has the wrong shape, dtype or device for this regulariser.
        """
        return self._field(self.regularizer._fold(x)).reshape(x.shape)

    @torch.no_grad()
    def potential_and_field(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``r(x)``, shape (B,), and ``R(x)`` from one forward pass where possible.

        Raises:
            NoPotentialError: if R is not a gradient field.
        """
        value, field = self._potential_and_field(self.regularizer._fold(x))
        return self.regularizer._unfold_scalar(value, x), field.reshape(x.shape)

    @torch.no_grad()
    def linearize(self, x: Tensor) -> Linearization:
        """Products with the Jacobian at x and with its transpose."""
        fold = self.regularizer._fold(x)
        return self._linearize(fold).between(fold.shape, x.shape)

    @torch.no_grad()
    def local_kernels(self, x: Tensor) -> LocalKernels | None:
        """Convolutions that act like the Jacobian near x, for preconditioning.

        Args:
            x: images of shape (B, C, *spatial).

        Returns:
            A positive semi-definite operator on groups of c channels, its first axis of length
            ``B * C / c``: ``c = channels`` where R mixes channels, else 1. None where R is like no
            convolution (a dense operator, a network).
        """
        return self._local_kernels(self.regularizer._fold(x))

    def _field(self, x: Tensor) -> Tensor:
        return self.regularizer._field(x, self.constants)

    def _potential_and_field(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.regularizer._potential_and_field(x, self.constants)

    def _linearize(self, x: Tensor) -> Linearization:
        return self.regularizer._linearize(x, self.constants)

    def _local_kernels(self, x: Tensor) -> LocalKernels | None:
        return None
