"""The equation of the proximal map (or resolvent) of a field: ``z - x + gamma R(z) = 0``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.bounds import Bound, proved
from equipoise.circulant import FLOOR, LocalInverse, local_inverse
from equipoise.errors import InputError
from equipoise.modes import make_ordinary, refuse_transforms, verb
from equipoise.solve import default_solver, solve
from equipoise.status import Solution
from equipoise.vectors import dot, norm

if TYPE_CHECKING:
    from equipoise.regularizers.base import Regularizer


class ProximalSystem:
    """``E(z) = z - x + gamma R(z)`` as a system that solvers take.

    Args:
        regularizer: the field R.
        x: images of shape (B, C, *spatial).
        gamma: positive number.
    """

    def __init__(self, regularizer: Regularizer, x: Tensor, gamma: float) -> None:
        self._regularizer, self._x, self._gamma = regularizer, x, gamma
        self._field = regularizer.frozen()

    @cached_property
    def scale(self) -> Tensor:
        """``||x||``, or 1 for a zero image."""
        size = norm(self._x)
        return torch.where(size > 0, size, torch.ones_like(size))

    @property
    def gradient_field(self) -> bool:
        """Whether R is a gradient."""
        return self._regularizer.gradient_field

    @property
    def modulus(self) -> Bound | None:
        """``1 + gamma mu``."""
        mu = self._regularizer.monotonicity()
        return None if mu is None else proved(1.0) + mu.times(self._gamma)

    @property
    def lipschitz(self) -> Bound | None:
        """``1 + gamma L``."""
        bound = self._regularizer.traits().lipschitz
        return None if bound is None else proved(1.0) + bound.times(self._gamma)

    @property
    def disc(self) -> bool:
        """As for R."""
        return self._regularizer.traits().disc

    def residual(self, x: Tensor) -> Tensor:
        """``z - x + gamma R(z)``."""
        with torch.no_grad():
            return x - self._x + self._gamma * self._field.field(x)

    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``||z - x||^2 / 2 + gamma r(z)`` and its gradient."""
        with torch.no_grad():
            value, field = self._field.potential_and_field(x)
            step = x - self._x
            return 0.5 * dot(step, step) + self._gamma * value, step + self._gamma * field

    def in_domain(self, x: Tensor) -> None:
        """None: the quadratic is defined everywhere."""

    def resolvent(self) -> tuple[Callable[[Tensor], Tensor], float] | None:
        """``v -> v / (1 + c)`` with ``c = gamma (mu + L) / 2`` where both are known."""
        traits = self._regularizer.traits()
        if traits.modulus is None or traits.lipschitz is None:
            return None
        c = 0.5 * self._gamma * (traits.modulus.value + traits.lipschitz.value)
        return (lambda v: v / (1.0 + c)), c

    def preconditioner(self, x: Tensor, floor: float | Tensor = FLOOR) -> LocalInverse | None:
        """``(I + gamma J_R(x))^{-1}`` where R is like a convolution in each part of the image."""
        local = self._field.local_kernels(x)
        if local is None:
            return None
        ones = x.new_ones(1, x.shape[1], *[1] * (x.dim() - 2))
        return local_inverse(local.times(self._gamma), ones, floor)

    def select(self, keep: Tensor) -> ProximalSystem:
        """The same equation for some of the samples."""
        return ProximalSystem(self._regularizer, self._x[keep], self._gamma)


@verb
def solve_prox(
    regularizer: Regularizer, x: Tensor, gamma: float | Tensor, tolerance: float | None
) -> Solution:
    """Solve ``z - x + gamma R(z) = 0`` from ``z = x``.

    Raises:
        InputError: if gamma is not a positive number.
    """
    refuse_transforms(x, regularizer)
    make_ordinary(regularizer)
    step = float(gamma)
    if not step > 0:
        raise InputError(f"gamma must be positive, got {step}.")
    if tolerance is None:
        tolerance = 1e-9 if x.dtype == torch.float64 else 1e-5
    system = ProximalSystem(regularizer, x.detach(), step)
    return solve(system, x.detach(), default_solver(system), tolerance=tolerance)
