"""The symmetric Bregman pairing of a field, and when it is a distance."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.certify.rounding import product
from equipoise.checks import require_like
from equipoise.errors import HypothesisError
from equipoise.modes import verb
from equipoise.regularizers.base import Regularizer


@verb
def bregman_pairing(regularizer: Regularizer, x: Tensor, z: Tensor) -> Tensor:
    """Compute ``<R(x) - R(z), x - z>``, whose sign is kept.

    It is negative where R is not monotone between x and z, and then measures no distance.

    Args:
        regularizer: the field R.
        x: images, shape (B, C, ...).
        z: images of the same shape and dtype.

    Returns:
        Tensor of shape (B,), float64.

    Raises:
        InputError: if x and z do not match each other or R.
    """
    require_like("z", z, x, "x")
    with torch.no_grad():
        return product(regularizer.field(x) - regularizer.field(z), x - z)


@verb
def symmetric_bregman_distance(regularizer: Regularizer, x: Tensor, z: Tensor) -> Tensor:
    """Compute ``D(x, z) = <R(x) - R(z), x - z> >= 0`` of a monotone R (theory, section 1).

    For ``R = grad r`` this is the sum of both Bregman distances of r. Negative rounding errors
    become 0.

    Args:
        regularizer: a field R that is proved to be monotone.
        x: images, shape (B, C, ...).
        z: images of the same shape and dtype.

    Returns:
        Tensor of shape (B,), float64, not negative.

    Raises:
        HypothesisError: if R is not proved to be monotone.
        InputError: if x and z do not match each other or R.
    """
    traits = regularizer.traits()
    if not traits.monotone:
        mu = traits.modulus
        known = "its modulus is unknown" if mu is None else f"its modulus is {mu}"
        raise HypothesisError(
            f"{type(regularizer).__name__} is not proved to be monotone ({known}), so the pairing "
            "may be negative and is no distance: use bregman_pairing, which keeps the sign, or "
            "absolute_bregman_distance."
        )
    return bregman_pairing(regularizer, x, z).clamp_min(0.0)


@verb
def absolute_bregman_distance(regularizer: Regularizer, x: Tensor, z: Tensor) -> Tensor:
    """Compute ``|<R(x) - R(z), x - z>|``, for any R.

    It may vanish for x far from z, and obeys no stability estimate where R is not monotone.

    Args and errors: those of :func:`bregman_pairing`.

    Returns:
        Tensor of shape (B,), float64, not negative.
    """
    return bregman_pairing(regularizer, x, z).abs()
