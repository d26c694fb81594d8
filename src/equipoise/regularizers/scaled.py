"""Composition with a learned strength and a learned scale."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from equipoise.bounds import Bound
from equipoise.checks import require_positive
from equipoise.circulant import LocalKernels
from equipoise.errors import UsageError
from equipoise.regularizers.base import (
    Constants,
    Regularizer,
    Restrainable,
)
from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.linearization import Linearization


class Scaled(Regularizer):
    """Strength a and scale s of another regulariser, both learned as logarithms.

    Formula: potential ``a / s^2 r(s x)``, hence field ``(a / s) R(s x)`` and Jacobian
    ``a J_R(s x)``: a sets how strong the field is, s at which contrast r is nonlinear. The
    equation's alpha multiplies a.

    Args:
        regularizer: the inner field R (with its own parameters).
        strength: initial a, positive.
        scale: initial s, positive.

    Raises:
        UsageError: if the inner one is no ``Regularizer`` or a number is not positive.
    """

    catalogue_name: ClassVar[str] = "scaled"

    def __init__(self, regularizer: Regularizer, strength: float = 1.0, scale: float = 1.0) -> None:
        if not isinstance(regularizer, Regularizer):
            raise UsageError(
                f"Scaled composes an equipoise Regularizer, got {type(regularizer).__name__}."
            )
        _check_scales(strength, scale)
        super().__init__()
        self.gradient_field = self.explicit_prior = regularizer.gradient_field
        self.contractive_residual = regularizer.contractive_residual
        self.channels, self.dims = regularizer.channels, regularizer.dims
        self.regularizer = regularizer
        self._initial = {"strength": float(strength), "scale": float(scale)}
        like = next(regularizer.parameters(), torch.zeros(()))
        self.log_strength = nn.Parameter(torch.log(torch.as_tensor(float(strength))).to(like))
        self.log_scale = nn.Parameter(torch.log(torch.as_tensor(float(scale))).to(like))

    @property
    def config(self) -> dict[str, Any]:
        """Catalogue name, the inner configuration, and the initial strength and scale."""
        return {"name": self.catalogue_name, "inner": self.regularizer.config, **self._initial}

    @property
    def strength(self) -> float:
        """The present a."""
        return float(self.log_strength.detach().exp())

    @property
    def scale(self) -> float:
        """The present s."""
        return float(self.log_scale.detach().exp())

    def set_scales(self, strength: float, scale: float) -> None:
        """Replace a and s.

        Raises:
            UsageError: if one is not positive.
        """
        _check_scales(strength, scale)
        with torch.no_grad():
            self.log_strength.fill_(math.log(strength))
            self.log_scale.fill_(math.log(scale))

    def hold_modulus(self, least: float) -> None:
        """Hold ``a mu >= least`` by the inner field's own means.

        Raises:
            UsageError: if the inner field has none.
        """
        inner = self.regularizer
        if not isinstance(inner, Restrainable):
            raise UsageError(f"{type(inner).__name__} has no means to hold its modulus.")
        inner.hold_modulus(least / self.strength)

    def constants(self) -> Constants:
        """a, s and the constants of the inner regulariser."""
        return self.log_strength.exp(), self.log_scale.exp(), *self.regularizer.constants()

    def modulus(self) -> Bound | None:
        """``a mu``."""
        inner = self.regularizer.modulus()
        return None if inner is None else inner.times(self.strength)

    def lipschitz(self) -> Bound | None:
        """``a L``; with ``a mu`` the disc hypothesis carries over: every Jacobian is scaled."""
        inner = self.regularizer.lipschitz()
        return None if inner is None else inner.times(self.strength)

    def attaining(self) -> bool:
        """As the inner one."""
        return self.regularizer.attaining()

    def bounded(self) -> bool:
        """As the inner one."""
        return self.regularizer.bounded()

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        a, s, *inner = constants
        return a / s * self.regularizer.field(s * x, tuple(inner))

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        a, s, *inner = constants
        return a / s.square() * self.regularizer.potential(s * x, tuple(inner))

    def _potential_and_field(self, x: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
        a, s, *inner = constants
        value, field = self.regularizer.potential_and_field(s * x, tuple(inner))
        return a / s.square() * value, a / s * field

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        with torch.no_grad():
            a, s, *rest = (c.detach() for c in constants)
            return self.regularizer.linearize(s * x, tuple(rest)).scaled(a)

    def _frozen(self, constants: Constants) -> FrozenField:
        return _FrozenScaled(self, constants)


class _FrozenScaled(FrozenField):
    """The frozen inner field, scaled."""

    def __init__(self, regularizer: Scaled, constants: Constants) -> None:
        super().__init__(regularizer, constants)
        self._a, self._s, *inner = constants
        self._inner = regularizer.regularizer._frozen(tuple(inner))

    def _field(self, x: Tensor) -> Tensor:
        return self._inner.field(self._s * x).mul_(self._a / self._s)

    def _potential_and_field(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, field = self._inner.potential_and_field(self._s * x)
        return self._a / self._s.square() * value, field.mul_(self._a / self._s)

    def _linearize(self, x: Tensor) -> Linearization:
        return self._inner.linearize(self._s * x).scaled(self._a)

    def _local_kernels(self, x: Tensor) -> LocalKernels | None:
        local = self._inner.local_kernels(self._s * x)
        return None if local is None else local.times(self._a)


def _check_scales(strength: float, scale: float) -> None:
    for name, value in (("strength", strength), ("scale", scale)):
        require_positive(name, value, UsageError)
