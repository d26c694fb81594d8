"""Functions of ``A^T A`` in the basis in which a decomposable physics is diagonal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from deepinv.physics import DecomposablePhysics, LinearPhysics
from torch import Tensor

from equipoise.gram import diagonalises, singular_values
from equipoise.vectors import expand

#: f(s, c) of the singular values s of A and a number c per sample, both ready to broadcast.
Function = Callable[[Tensor, Tensor], Tensor]

#: Singular values are known up to this many units of rounding of the largest one (an FFT's error).
SINGULAR_VALUE_ROUNDING = 8.0


@dataclass(frozen=True, eq=False)
class SpectralCalculus:
    """``f(A^T A) = V f(S) V*`` for a physics that is diagonal in a known basis.

    Args:
        physics: a deepinv decomposable physics whose decomposition holds.
        values: its singular values, shaped to broadcast against ``V* v``.
    """

    physics: DecomposablePhysics
    values: Tensor

    def apply(self, function: Function, v: Tensor, c: float | Tensor = 0.0) -> Tensor:
        """Compute ``V f(s, c) V* v``.

        Args:
            function: ``f(s, c)``, entry by entry.
            v: images, shape (B, C, ...).
            c: a number, or one for each sample, shape (B,).
        """
        with torch.no_grad():
            coefficients = self.physics.V_adjoint(v)
            shift = torch.as_tensor(c, dtype=v.dtype, device=v.device)
            shift = expand(shift, coefficients) if shift.dim() == 1 else shift
            factor = function(self.values, shift)
            return self.physics.V(factor * coefficients)

    @property
    def rounding(self) -> float:
        """How far the singular values may be from their exact ones."""
        eps = torch.finfo(self.values.dtype).eps
        return SINGULAR_VALUE_ROUNDING * eps * float(self.values.max())

    @property
    def kernel_is_exact(self) -> bool:
        """Whether every singular value is exactly 0 or distinguishable from 0."""
        values = self.values
        return not bool(((values > 0) & (values <= self.rounding)).any())

    def kernel(self, v: Tensor) -> Tensor:
        """The component of v that A does not see (singular values of 0 up to rounding)."""
        floor = self.rounding
        return self.apply(lambda s, c: (s <= floor).to(v.dtype), v)


def spectral_calculus(physics: LinearPhysics, like: Tensor) -> SpectralCalculus | None:
    """The functions of ``A^T A`` where a decomposition gives them, else None.

    Args:
        physics: any deepinv linear physics.
        like: images, shape (B, C, ...), on which the decomposition is tried.
    """
    if not isinstance(physics, DecomposablePhysics):
        return None
    with torch.no_grad():
        if not diagonalises(physics, like):
            return None
    return SpectralCalculus(physics, singular_values(physics))
