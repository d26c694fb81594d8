"""Composition with a learned strength and a learned scale."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from equipoise.bounds import Bound
from equipoise.checks import require_positive
from equipoise.errors import UsageError
from equipoise.fields import Field, Fold, ScaledField, Traits
from equipoise.regularizers.base import (
    Constants,
    Regularizer,
    Restrainable,
)


class Scaled(Regularizer):
    """Strength a and scale s of another regulariser, both learned as logarithms.

    Formula: potential ``a / s^2 r(s x)``, hence field ``(a / s) R(s x)`` and Jacobian
    ``a J_R(s x)``: a sets how strong the field is, s at which contrast r is nonlinear. The
    equation's alpha multiplies a.

    Args:
        inner: the field R that is scaled (with its own parameters).
        strength: initial a, positive.
        scale: initial s, positive.

    Raises:
        UsageError: if the inner one is no ``Regularizer`` or a number is not positive.
    """

    catalogue_name: ClassVar[str] = "scaled"

    def __init__(self, inner: Regularizer, strength: float = 1.0, scale: float = 1.0) -> None:
        if not isinstance(inner, Regularizer):
            raise UsageError(
                f"Scaled composes an equipoise Regularizer, got {type(inner).__name__}."
            )
        _check_scales(strength, scale)
        super().__init__()
        self.gradient_field = self.explicit_prior = inner.gradient_field
        self.contractive_residual = inner.contractive_residual
        self.channels, self.dims = inner.channels, inner.dims
        self.regularizer = inner
        like = next(inner.parameters(), torch.zeros(()))
        self.log_strength = nn.Parameter(torch.log(torch.as_tensor(float(strength))).to(like))
        self.log_scale = nn.Parameter(torch.log(torch.as_tensor(float(scale))).to(like))

    @property
    def config(self) -> dict[str, Any]:
        """That of the present inner field."""
        return {**super().config, "inner": self.regularizer.config}

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

    def _known(self, constants: Constants) -> Traits:
        """``a mu`` and ``a L``: every Jacobian is scaled; the rest as of the inner one."""
        inner, a = self.regularizer.traits(), self.strength

        def times(bound: Bound | None) -> Bound | None:
            return None if bound is None else bound.times(a)

        return Traits(
            modulus=lambda: times(inner.modulus),
            lipschitz=lambda: times(inner.lipschitz),
            attaining=inner.attaining,
            bounded=inner.bounded,
            linear=inner.linear,
        )

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        a, s, *inner = constants
        return a / s * self.regularizer._field(s * x, tuple(inner))

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        a, s, *inner = constants
        return a / s.square() * self.regularizer._potential(s * x, tuple(inner))

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        a, s, *inner = constants
        return ScaledField(fold, self.regularizer._frozen(fold, tuple(inner)), a, s)


def _check_scales(strength: float, scale: float) -> None:
    for name, value in (("strength", strength), ("scale", scale)):
        require_positive(name, value, UsageError)
