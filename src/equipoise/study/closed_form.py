"""The equilibrium of Tikhonov's method in closed form: what every solve of it must match."""

from __future__ import annotations

from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.gram import Gram
from equipoise.regularizers import Regularizer, Tikhonov
from equipoise.vectors import norm


def tikhonov_equilibrium(physics: LinearPhysics, y: Tensor, alpha: float) -> Tensor | None:
    """``(A^T A + alpha I)^{-1} A^T y``, or None where the physics has no known decomposition.

    Args:
        physics: A.
        y: data, shape (B, ...).
        alpha: positive strength.
    """
    back = physics.A_adjoint(y)
    calculus = Gram(physics, back).calculus
    if calculus is None:
        return None
    return calculus.apply(lambda s, c: 1.0 / (s.square() + c), back, alpha)


def closed_form_difference(
    physics: LinearPhysics, regularizer: Regularizer, y: Tensor, alpha: float, x: Tensor
) -> Tensor | None:
    """``||x - x_closed|| / ||x_closed||`` per sample for Tikhonov with the identity, else None."""
    if not isinstance(regularizer, Tikhonov) or regularizer.operator != "identity":
        return None
    exact = tikhonov_equilibrium(physics, y, alpha)
    return None if exact is None else norm(x - exact) / norm(exact)
