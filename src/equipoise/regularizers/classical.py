"""Classical regularisers: Tikhonov and smoothed total variation."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.bounds import proved
from equipoise.checks import require_positive
from equipoise.convolutions.circulant import LocalKernels
from equipoise.errors import UnknownNameError, UsageError
from equipoise.fields import Field, Fold, Linearization, Traits
from equipoise.regularizers.base import Constants, Regularizer
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

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        if self._axes is None:
            return x.clone()
        terms = [differences_adjoint(differences(x, axis), axis) for axis in self._axes]
        return sum(terms[1:], terms[0])

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return 0.5 * dot(x, self._field(x, constants))

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        return _Quadratic(fold, lambda v: self._field(v, constants), self._axes is not None)

    def _known(self, constants: Constants) -> Traits:
        """1 and 1 for the identity, 0 and ``4 dims`` for the gradient; a quadratic potential."""
        if self._axes is None:
            one = proved(1.0, "identity")
            return Traits(modulus=one, lipschitz=one, attaining=True, linear=True)
        return Traits(
            modulus=proved(0.0, "convex potential"),
            lipschitz=proved(4.0 * len(self._axes), "norm of forward differences"),
            attaining=True,
            linear=True,
        )


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

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self._frozen(self._fold(), constants)._value(x)

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return self._frozen(self._fold(), constants)._potential_and_value(x)[0]

    def _frozen(self, fold: Fold, constants: Constants) -> _Smoothed:
        return _Smoothed(fold, self.epsilon, self._axes)

    def _known(self, constants: Constants) -> Traits:
        """Convex; ``||D||^2 / eps = 4 dims / eps``; grows linearly with every difference, and
        ``D^T`` acts on vectors that are at most 1 long."""
        return Traits(
            modulus=proved(0.0, "convex potential"),
            lipschitz=proved(4.0 * len(self._axes) / self.epsilon, "norm of forward differences"),
            attaining=True,
            bounded=True,
        )


class _Quadratic(Field):
    """``R(x) = D^T D x`` with forward differences along every axis, or with ``D = Id``.

    Args:
        fold: which images R takes.
        product: R.
        differences: whether D takes differences.
    """

    def __init__(self, fold: Fold, product: Callable[[Tensor], Tensor], differences: bool) -> None:
        super().__init__(fold)
        self._product, self._differences = product, differences

    def _value(self, x: Tensor) -> Tensor:
        return self._product(x)

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = self._product(x)
        return 0.5 * dot(x, value), value

    def _linearize(self, x: Tensor) -> Linearization:
        return Linearization(self._product, self._product)

    def _local_kernels(self, x: Tensor) -> LocalKernels:
        """The convolution that ``D^T D`` is away from the boundary, every channel by itself."""
        images = x.flatten(0, 1).unsqueeze(1)
        axes = images.dim() - 2
        kernel = x.new_zeros([3] * axes)
        middle = (1,) * axes
        if not self._differences:
            kernel[middle] = 1.0
        else:
            for axis in range(axes):
                kernel.movedim(axis, -1)[middle[1:]] += x.new_tensor([-1.0, 2.0, -1.0])
        kernels = kernel.expand(len(images), 1, 1, 1, *kernel.shape)
        return LocalKernels(torch.ones_like(images), kernels)


class _Smoothed(Field):
    """``R(x) = D^T (D x / sqrt(|D x|^2 + eps^2))``.

    Args:
        fold: which images R takes.
        epsilon: eps.
        axes: those along which D takes differences.
    """

    def __init__(self, fold: Fold, epsilon: float, axes: range) -> None:
        super().__init__(fold)
        self._epsilon, self._axes = epsilon, axes

    def _value(self, x: Tensor) -> Tensor:
        parts, _, root = self._gradient(x)
        return self._divergence([part / root for part in parts])

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        parts, squared, root = self._gradient(x)
        # sqrt(q + eps^2) - eps without cancellation
        potential = (squared / (root + self._epsilon)).flatten(1).sum(1)
        return potential, self._divergence([part / root for part in parts])

    def _linearize(self, x: Tensor) -> Linearization:
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

    def _gradient(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """``D x``, ``|D x|^2`` and ``sqrt(|D x|^2 + eps^2)``."""
        parts = [differences(x, axis) for axis in self._axes]
        squared = parts[0].square()
        for part in parts[1:]:
            squared = squared + part.square()
        return parts, squared, (squared + self._epsilon**2).sqrt()

    def _divergence(self, parts: list[Tensor]) -> Tensor:
        """``D^T p``."""
        terms = [differences_adjoint(p, axis) for p, axis in zip(parts, self._axes, strict=True)]
        return sum(terms[1:], terms[0])


def _checked(dims: int) -> int:
    if dims < 1:
        raise UsageError(f"dims must be at least 1, got {dims}.")
    return dims


def _pad(x: Tensor, axis: int, widths: tuple[int, int]) -> Tensor:
    return F.pad(x, [0, 0] * (x.dim() - 1 - axis) + list(widths))
