"""Residual fields of gradient-step layers with their parameters held fixed, on fast kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.linearization import Linearization
from equipoise.regularizers.sandwich import ConvolutionSandwich
from equipoise.regularizers.tiles import Tile

if TYPE_CHECKING:
    from equipoise.regularizers.base import Constants, Regularizer


class FrozenLayers(FrozenField):
    """``R(x) = x - q T_n ... T_1 x - c`` with ``T(z) = z - L^T tanh(K z + b)``.

    Args:
        regularizer: the field R.
        constants: its constants, detached.
        layers: ``z -> L^T point(K z + b)`` of each layer, ``L = D K`` with a positive diagonal D,
            so that every layer's Jacobian is symmetric.
        contraction: q.
        offset: c, to be broadcast over samples and pixels.
    """

    def __init__(
        self,
        regularizer: Regularizer,
        constants: Constants,
        layers: Sequence[ConvolutionSandwich],
        contraction: float,
        offset: Tensor,
    ) -> None:
        super().__init__(regularizer, constants)
        self._layers, self._contraction, self._offset = tuple(layers), contraction, offset

    def _field(self, x: Tensor) -> Tensor:
        z = x
        for layer in self._layers:
            z = z - layer(z, lambda features, tile: features.tanh_())
        return x - self._contraction * z - self._offset

    def _linearize(self, x: Tensor) -> Linearization:
        slopes: list[list[Tensor]] = []
        z = x
        for layer in self._layers:
            kept: list[Tensor] = []

            def activate(features: Tensor, tile: Tile, kept: list[Tensor] = kept) -> Tensor:
                active = features.tanh_()
                kept.append(1.0 - active.square())
                return active

            z = z - layer(z, activate)
            slopes.append(kept)

        def product(v: Tensor, order: Sequence[int]) -> Tensor:
            w = v
            for number in order:
                known = slopes[number]

                def weigh(features: Tensor, tile: Tile, known: list[Tensor] = known) -> Tensor:
                    return features.mul_(known[tile.index])

                w = w - self._layers[number](w, weigh, linear=True)
            return v - self._contraction * w

        upwards = range(len(self._layers))
        return Linearization(lambda v: product(v, upwards), lambda v: product(v, upwards[::-1]))
