"""``L^T s(K x + b)`` with its derivative by whatever it is made of, tile by tile.

For a cotangent q the derivative is that of the number ``<L q, s(K x + b)>``: features of x and of
q meet pixel by pixel, so that no features are kept between the two passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

from equipoise.cotangents import pull_back
from equipoise.precision import without_tf32
from equipoise.regularizers.convolution import (
    Correlation,
    Padding,
    correlate,
    laid_out,
    mirrored,
    wrap,
)
from equipoise.regularizers.sandwich import ConvolutionSandwich
from equipoise.regularizers.tiles import Tile, cut

if TYPE_CHECKING:
    from equipoise.regularizers.profiles import Profile

_WEIGHT_GRADIENT = {
    1: conv1d_weight,
    2: conv2d_weight,
    3: conv3d_weight,
}


@dataclass(frozen=True)
class Layers:
    """The tensors of ``L^T s(K x + b)``; derivatives pass to all of them.

    Args:
        inner: filters of the convolutions of K, those next to the image first.
        outer: those of L.
        bias: b, shape (features,), or None.
        profile: its slope is s.
        padding: of every convolution.
    """

    inner: tuple[Tensor, ...]
    outer: tuple[Tensor, ...]
    bias: Tensor | None
    profile: Profile
    padding: Padding

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in the order that :meth:`of` expects; a side that is the other one twice."""
        bias = [] if self.bias is None else [self.bias]
        return [*self.inner, *self.outer, *bias, *self.parameters]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The profile's learned numbers."""
        return [p for p in self.profile.parameters() if p.requires_grad]

    def of(self, tensors: Sequence[Tensor]) -> Layers:
        """The same with other filters and bias."""
        depth = len(self.inner)
        bias = None if self.bias is None else tensors[2 * depth]
        sides = tuple(tensors[:depth]), tuple(tensors[depth : 2 * depth])
        return Layers(*sides, bias, self.profile, self.padding)


def attached(x: Tensor, layers: Layers) -> Tensor:
    """Compute ``L^T s(K x + b)``, differentiable once by x and by the tensors of the layers.

    Args:
        x: images of shape (B, channels, *spatial).
        layers: K, L, b and s.
    """
    value: Tensor = _Attached.apply(layers, x, *layers.tensors)
    return value


class _Attached(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: Layers, x: Tensor, *tensors: Tensor) -> Tensor:
        sandwich = ConvolutionSandwich(layers.inner, layers.outer, layers.bias, layers.padding)
        core = sandwich.core(x, lambda features, tile: layers.profile.slope(features))
        ctx.layers = layers
        ctx.save_for_backward(core, x, *tensors)
        return sandwich.finished(core)

    @staticmethod
    def backward(ctx: Any, q: Tensor) -> tuple[Tensor | None, ...]:
        core, x, *tensors = ctx.saved_tensors
        fixed = ctx.layers.of([tensor.detach() for tensor in tensors])
        wants_x = ctx.needs_input_grad[1]

        def pull(one: Tensor) -> tuple[Tensor, ...]:
            with without_tf32(x.device):
                return _Pairing(fixed, x, core, one, wants_x).gradients()

        found = pull_back(pull, q, x, *tensors)
        return None, *(found if wants_x else (None, *found))


class _Pairing:
    """Derivatives of ``<L q, s(K x + b)>``; ``core`` is that by what L's last convolution sees."""

    def __init__(self, layers: Layers, x: Tensor, core: Tensor, q: Tensor, wants_x: bool) -> None:
        self.layers, self.shape = layers, tuple(x.shape[2:])
        self.of_parameters = [torch.zeros_like(p) for p in layers.parameters]
        self.of_bias = None if layers.bias is None else torch.zeros_like(layers.bias)
        self.left = _Side(layers.outer, q, None, layers.padding)
        self.right = _Side(layers.inner, x, layers.bias, layers.padding, wants_image=wants_x)
        self.core = core
        self.spread = self.right.room()

    def gradients(self) -> tuple[Tensor, ...]:
        """By x (where wanted), the filters of K and L, the bias and the profile's parameters."""
        last = self.layers.inner[-1]
        for tile in cut(len(self.right.source), self.shape, last):
            self._add(tile)
        right = self.right.finish(self.right.padded, self.spread)
        left = self.left.finish(self.left.reduced, self.core)
        bias = [] if self.of_bias is None else [self.of_bias]
        return *right, *left, *bias, *self.of_parameters

    def _add(self, tile: Tile) -> None:
        t, u = self.right.features(tile), self.left.features(tile)
        by_t, by_u, *by_parameters = self.layers.profile.pairing(t, u)
        for total, part in zip(self.of_parameters, by_parameters, strict=True):
            total += part
        if self.of_bias is not None:
            self.of_bias += by_t.movedim(1, 0).flatten(1).sum(1)
        self.right.collect(tile, by_t)
        self.left.collect(tile, by_u)
        if self.spread is not None:
            tile.box(self.spread, reach=1).add_(self.right.transposed(by_t))


class _Side:
    """Features of one image under one chain, and the way back from their derivatives.

    ``reduced`` is what the last convolution sees, ``padded`` the same with its border.
    """

    def __init__(
        self,
        filters: Sequence[Tensor],
        image: Tensor,
        bias: Tensor | None,
        padding: Padding,
        *,
        wants_image: bool = False,
    ) -> None:
        last = filters[-1]
        halves = [size // 2 for size in last.shape[2:]]
        with torch.enable_grad():
            image = image.detach().requires_grad_(wants_image)
            head = [layer.detach().requires_grad_() for layer in filters[:-1]]
            self.reduced = image
            for layer in head:
                self.reduced = correlate(self.reduced, layer, None, padding)
            widths = [half for half in reversed(halves) for _ in range(2)]
            circular = padding == "circular"
            self.padded = wrap(self.reduced, halves) if circular else F.pad(self.reduced, widths)
        self.sources = [image] * wants_image + head
        self.source = laid_out(self.padded.detach())
        self.last, self.of_last = Correlation(last, bias, padding), torch.zeros_like(last)
        self.mirror = Correlation(mirrored(last), None, padding)

    def features(self, tile: Tile) -> Tensor:
        """``K x + b`` on the tile without a margin."""
        return self.last.valid(tile.box(self.source, reach=1))

    def collect(self, tile: Tile, slope: Tensor) -> None:
        """Add what the derivative by the features of a tile gives for the last convolution."""
        derivative = _WEIGHT_GRADIENT[len(tile.shape)]
        box = tile.box(self.source, reach=1)
        self.of_last += derivative(box, list(self.of_last.shape), slope)

    def room(self) -> Tensor | None:
        """Zeros for the derivative by ``padded``, where something is made of it."""
        return torch.zeros_like(self.source) if self.sources else None

    def transposed(self, slope: Tensor) -> Tensor:
        """The last convolution's transpose on a tile, its border included."""
        return self.mirror.full(slope)

    def finish(self, end: Tensor, derivative: Tensor | None) -> list[Tensor]:
        """Derivatives by the image, where wanted, and by all filters, from that by ``end``."""
        if not self.sources:
            return [self.of_last]
        return [*torch.autograd.grad(end, self.sources, derivative), self.of_last]
