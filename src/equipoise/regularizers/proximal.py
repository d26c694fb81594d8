"""The equation of the proximal map (or resolvent) of a field: ``z - x + gamma R(z) = 0``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.bounds import Bound, proved
from equipoise.checks import require_positive
from equipoise.circulant import FLOOR, LocalInverse, local_inverse
from equipoise.gauge import Gauge, clipped, level_and_spread, scale_above_rounding
from equipoise.modes import make_ordinary, refuse_transforms, verb
from equipoise.solve import default_solver, solve
from equipoise.status import Solution
from equipoise.vectors import dot, expand, norm

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

    @property
    def like(self) -> Tensor:
        """A tensor of shape, dtype and device of the unknown."""
        return self._x

    @cached_property
    def gauge(self) -> Gauge:
        """As of the equation with A = I, y = x and alpha = gamma."""
        x, gamma = self._x, self._gamma
        with torch.no_grad():
            level, _ = level_and_spread(x, torch.ones_like(x[:1]))
            pull = self._field.field(torch.zeros_like(x[:1]))
            mean = pull.mean(tuple(range(1, pull.dim())), keepdim=True)
            size = norm(clipped(expand(level, x) - x) + gamma * (pull - mean))
            terms = norm(x) + gamma * norm(pull)
            scale = scale_above_rounding(size, terms, x.dtype)
        return Gauge(scale, torch.maximum(terms, scale))

    @property
    def gradient_field(self) -> bool:
        """Whether R is a gradient."""
        return self._regularizer.gradient_field

    @property
    def modulus(self) -> Bound | None:
        """``1 + gamma mu``."""
        mu = self._regularizer.modulus()
        return None if mu is None else proved(1.0) + mu.times(self._gamma)

    @property
    def lipschitz(self) -> Bound | None:
        """``1 + gamma L``."""
        bound = self._regularizer.lipschitz()
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
        mu, high = self._regularizer.modulus(), self._regularizer.lipschitz()
        if mu is None or high is None:
            return None
        c = 0.5 * self._gamma * (mu.value + high.value)
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
        InputError: if gamma or the tolerance is not a positive finite number.
    """
    refuse_transforms(x, regularizer)
    make_ordinary(regularizer)
    step = gamma.item() if isinstance(gamma, Tensor) and gamma.numel() == 1 else gamma
    require_positive("gamma", step)
    if tolerance is None:
        tolerance = 1e-9 if x.dtype == torch.float64 else 1e-5
    system = ProximalSystem(regularizer, x.detach(), float(step))
    return solve(system, x.detach(), default_solver(system), tolerance=tolerance)
