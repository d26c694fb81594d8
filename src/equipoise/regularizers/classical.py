"""Classical regularisers: Tikhonov and smoothed total variation."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from equipoise.bounds import Bound, proved
from equipoise.checks import require_positive
from equipoise.errors import UnknownNameError, UsageError
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.regularizers.frozen_quadratic import FrozenQuadratic
from equipoise.regularizers.linearization import Linearization
from equipoise.vectors import dot

Operator = Literal["identity", "gradient"]


def differences(x: Tensor, axis: int) -> Tensor:
    """Forward differences along an axis; the last one is zero (replicated boundary)."""
    return _pad(x.diff(dim=axis), axis, (0, 1))


def differences_adjoint(p: Tensor, axis: int) -> Tensor:
    """Apply the exact adjoint of :func:`differences`, a negative backward difference."""
    inner = p.narrow(axis, 0, p.shape[axis] - 1)
    return _pad(inner, axis, (1, 0)) - _pad(inner, axis, (0, 1))


class Tikhonov(Regularizer):
    """Squared norm of the image or of its gradient.

    Formula: ``r(x) = ||D x||^2 / 2``, ``R(x) = D^T D x`` with D the identity or forward
    differences along every spatial axis (replicated boundary).

    Args:
        operator: ``"identity"`` or ``"gradient"``.
        dims: number of spatial axes; only used by ``"gradient"``.

    Raises:
        UnknownNameError: if the operator does not exist.
    """

    catalogue_name: ClassVar[str] = "tikhonov"

    def __init__(self, operator: Operator = "identity", dims: int = 2) -> None:
        super().__init__()
        if operator not in get_args(Operator):
            raise UnknownNameError("operator", operator, get_args(Operator))
        self.operator = operator
        self._axes = range(2, 2 + _checked(dims)) if operator == "gradient" else None
        self.dims = dims if operator == "gradient" else None
        self._dims = dims

    @property
    def config(self) -> dict[str, Any]:
        """Catalogue name and constructor arguments."""
        return {"name": self.catalogue_name, "operator": self.operator, "dims": self._dims}

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        if self._axes is None:
            return x.clone()
        terms = [differences_adjoint(differences(x, axis), axis) for axis in self._axes]
        return sum(terms[1:], terms[0])

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return self._potential_and_field(x, constants)[0]

    def _potential_and_field(self, x: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
        field = self._field(x, constants)
        return 0.5 * dot(x, field), field

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        def product(v: Tensor) -> Tensor:
            return self._field(v, constants)

        return Linearization(product, product)

    def _frozen(self, constants: Constants) -> FrozenQuadratic:
        return FrozenQuadratic(self, constants)

    def modulus(self) -> Bound:
        """1 for the identity, 0 for the gradient."""
        if self._axes is None:
            return proved(1.0, "identity")
        return proved(0.0, "convex potential")

    def lipschitz(self) -> Bound:
        """1 for the identity, ``4 dims`` for the gradient."""
        if self._axes is None:
            return proved(1.0, "identity")
        return proved(4.0 * len(self._axes), "norm of forward differences")

    def attaining(self) -> bool:
        """A quadratic potential, not below 0."""
        return True


class SmoothedTotalVariation(Regularizer):
    """Isotropic total variation, smoothed; every channel by itself.

    Formula: ``r(x) = sum_p sqrt(|D x(p)|^2 + eps^2) - eps`` with forward differences along every
    spatial axis and replicated boundary.

    Args:
        epsilon: positive smoothing, in units of the image's differences.
        dims: number of spatial axes.

    Raises:
        UsageError: if epsilon or dims is not positive and finite.
    """

    catalogue_name: ClassVar[str] = "tv"

    def __init__(self, epsilon: float = 1e-3, dims: int = 2) -> None:
        super().__init__()
        require_positive("epsilon", epsilon, UsageError)
        self.epsilon = float(epsilon)
        self.dims = _checked(dims)
        self._axes = range(2, 2 + dims)

    @property
    def config(self) -> dict[str, Any]:
        """Catalogue name and constructor arguments."""
        return {"name": self.catalogue_name, "epsilon": self.epsilon, "dims": self.dims}

    def _gradient(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """``D x``, ``|D x|^2`` and ``sqrt(|D x|^2 + eps^2)``."""
        parts = [differences(x, axis) for axis in self._axes]
        squared = parts[0].square()
        for part in parts[1:]:
            squared = squared + part.square()
        return parts, squared, (squared + self.epsilon**2).sqrt()

    def _divergence(self, parts: list[Tensor]) -> Tensor:
        """``D^T p``."""
        terms = [differences_adjoint(p, axis) for p, axis in zip(parts, self._axes, strict=True)]
        return sum(terms[1:], terms[0])

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        parts, _, root = self._gradient(x)
        return self._divergence([part / root for part in parts])

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        _, squared, root = self._gradient(x)
        return self._sum(squared, root)

    def _potential_and_field(self, x: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
        parts, squared, root = self._gradient(x)
        return self._sum(squared, root), self._divergence([part / root for part in parts])

    def _sum(self, squared: Tensor, root: Tensor) -> Tensor:
        # sqrt(q + eps^2) - eps without cancellation
        return (squared / (root + self.epsilon)).flatten(1).sum(1)

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        parts, _, root = self._gradient(x)
        units = [part / root for part in parts]

        def product(v: Tensor) -> Tensor:
            bent = [differences(v, axis) for axis in self._axes]
            along = bent[0] * units[0]
            for b, u in zip(bent[1:], units[1:], strict=True):
                along = along + b * u
            return self._divergence(
                [(b - u * along) / root for b, u in zip(bent, units, strict=True)]
            )

        return Linearization(product, product)

    def modulus(self) -> Bound:
        """0: the potential is convex."""
        return proved(0.0, "convex potential")

    def lipschitz(self) -> Bound:
        """``||D||^2 / eps = 4 dims / eps``."""
        return proved(4.0 * len(self._axes) / self.epsilon, "norm of forward differences")

    def attaining(self) -> bool:
        """A convex potential that grows linearly with every difference."""
        return True

    def bounded(self) -> bool:
        """``D^T`` of vectors that are at most 1 long."""
        return True


def _checked(dims: int) -> int:
    if dims < 1:
        raise UsageError(f"dims must be at least 1, got {dims}.")
    return dims


def _pad(x: Tensor, axis: int, widths: tuple[int, int]) -> Tensor:
    return F.pad(x, [0, 0] * (x.dim() - 1 - axis) + list(widths))
