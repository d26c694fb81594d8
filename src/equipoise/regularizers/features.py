"""Fields ``R(x) = L^T s(K x + b)`` with their parameters held fixed, on fast kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.circulant import LocalKernels
from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.linearization import Linearization
from equipoise.regularizers.local_curvature import local_kernels, sampling
from equipoise.regularizers.pointwise import Pointwise
from equipoise.regularizers.sandwich import ConvolutionSandwich, Sandwich
from equipoise.regularizers.tiles import Tile

if TYPE_CHECKING:
    from equipoise.regularizers.base import Constants, Regularizer


class FrozenFeatures(FrozenField):
    """``R(x) = L^T s(K x + b)``; where ``L = K`` with the potential ``sum psi(K x + b)``.

    Args:
        regularizer: the field R.
        constants: its constants, detached.
        sandwich: ``x -> L^T point(K x + b)``.
        point: s, psi and s' on the features of a tile.
        autocorrelations: those of the tied operator next to K and L, called once if at all; None
            where there are none.
    """

    def __init__(
        self,
        regularizer: Regularizer,
        constants: Constants,
        sandwich: Sandwich,
        point: Pointwise,
        autocorrelations: Callable[[], Tensor] | None,
    ) -> None:
        super().__init__(regularizer, constants)
        self._sandwich, self._point = sandwich, point
        self._autocorrelations = autocorrelations

    def _field(self, x: Tensor) -> Tensor:
        return self._sandwich(x, lambda features, tile: self._point.slope(features))

    def _linearize(self, x: Tensor) -> Linearization:
        curvatures = [self._point.curvature(features) for features in self._sandwich.features(x)]

        def weigh(features: Tensor, tile: Tile) -> Tensor:
            return features.mul_(curvatures[tile.index])

        transposed = self._sandwich.transposed()

        def jvp(v: Tensor) -> Tensor:
            return self._sandwich(v, weigh, linear=True)

        def vjp(w: Tensor) -> Tensor:
            return transposed(w, weigh, linear=True)

        return Linearization(jvp, jvp if transposed is self._sandwich else vjp)

    def _local_kernels(self, x: Tensor) -> LocalKernels | None:
        """``K^T diag(s'_+) K`` with the mean of s' over each part of the image."""
        if self._autocorrelations is None or not isinstance(self._sandwich, ConvolutionSandwich):
            return None
        strides = sampling(x.shape[2:])
        curvatures = [
            (tile, self._point.curvature(features).clamp_min(0.0))
            for tile, features in self._sandwich.samples(x, strides)
        ]
        return local_kernels(curvatures, self._correlated, (len(x), *x.shape[2:]), strides)

    @cached_property
    def _correlated(self) -> Tensor:
        assert self._autocorrelations is not None
        return self._autocorrelations()


class FrozenPotential(FrozenFeatures):
    """``R(x) = K^T psi'(K x + b)``, the gradient of ``r(x) = sum psi(K x + b)``."""

    def _potential_and_field(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Sums over tiles in double precision: line searches compare potentials to rounding.
        total = x.new_zeros(len(x), dtype=torch.float64)

        def bend(features: Tensor, tile: Tile) -> Tensor:
            energy, slope = self._point.energy_and_slope(features, tile)
            total[tile.samples] += energy
            return slope

        field = self._sandwich(x, bend)
        return total.to(x.dtype), field
