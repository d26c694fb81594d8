"""``L^T s(K x + b)`` with its derivative by whatever it is made of, tile by tile.

For a cotangent q the derivative is that of the number ``<L q, s(K x + b)>``: features of x and of
q meet pixel by pixel, so that no features are kept between the two passes. Where that derivative
shall itself be differentiated, it is taken of the formula, with its graph.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

from equipoise.convolutions.convolution import (
    Correlation,
    Padding,
    chain,
    chain_adjoint,
    correlate,
    laid_out,
    mirrored,
    wrap,
)
from equipoise.convolutions.precision import without_tf32
from equipoise.convolutions.sandwich import ConvolutionSandwich
from equipoise.convolutions.tiles import Tile, cut
from equipoise.cotangents import pull_back

_WEIGHT_GRADIENT = {
    1: conv1d_weight,
    2: conv2d_weight,
    3: conv3d_weight,
}


class Activation(Protocol):
    """The activation s, a module with learned numbers."""

    def slope(self, t: Tensor) -> Tensor:
        """``s(t)``."""

    def pairing(self, t: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        """Derivatives of ``sum u s(t)`` by t, by u, and by the parameters that need one."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The learned numbers."""


@dataclass(frozen=True)
class Layers:
    """The tensors of ``L^T s(K x + b)``; derivatives pass to all of them.

    Args:
        inner: filters of the convolutions of K, those next to the image first.
        outer: those of L.
        bias: b, shape (features,), or None.
        profile: its slope is s.
        padding: of every convolution.
        parameters: the profile's learned numbers.
    """

    inner: tuple[Tensor, ...]
    outer: tuple[Tensor, ...]
    bias: Tensor | None
    profile: Activation
    padding: Padding
    parameters: tuple[Tensor, ...]

    @classmethod
    def between(
        cls,
        inner: Sequence[Tensor],
        outer: Sequence[Tensor],
        bias: Tensor | None,
        profile: Activation,
        padding: Padding,
    ) -> Layers:
        """Those of filters and a profile, whose learned numbers are the parameters."""
        learned = tuple(p for p in profile.parameters() if p.requires_grad)
        return cls(tuple(inner), tuple(outer), bias, profile, padding, learned)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in the order that :meth:`of` expects; a side that is the other one twice."""
        bias = [] if self.bias is None else [self.bias]
        return [*self.inner, *self.outer, *bias, *self.parameters]

    def of(self, tensors: Sequence[Tensor]) -> Layers:
        """The same with other tensors; the profile is a copy, the one here stays as it is."""
        depth = len(self.inner)
        inner, outer, rest = tensors[:depth], tensors[depth : 2 * depth], tensors[2 * depth :]
        bias, own = (None, rest) if self.bias is None else (rest[0], rest[1:])
        others = {id(p): t for p, t in zip(self.parameters, own, strict=True)}
        profile = _with_parameters(self.profile, others)
        return Layers(tuple(inner), tuple(outer), bias, profile, self.padding, tuple(own))

    def formula(self, x: Tensor) -> Tensor:
        """``L^T s(K x + b)``, differentiable any number of times."""
        features = chain(x, self.inner, self.bias, self.padding)
        return chain_adjoint(self.profile.slope(features), self.outer, self.padding)


def sandwiched(x: Tensor, layers: Layers) -> Tensor:
    """Compute ``L^T s(K x + b)``, differentiable by x and by the tensors of the layers.

    Reverse passes run tile by tile unless they build a graph. Under transforms of ``torch.func``
    and in forward mode, the formula is used.

    Args:
        x: images of shape (B, channels, *spatial).
        layers: K, L, b and s.
    """
    tensors = layers.tensors
    if torch._C._are_functorch_transforms_active() or any(map(_has_tangent, (x, *tensors))):
        return layers.formula(x)
    # The parameters may be replaced before the reverse pass (torch.func.functional_call).
    value: Tensor = _Sandwich.apply(layers.of(tensors), x, *tensors)
    return value


def _has_tangent(tensor: Tensor) -> bool:
    return forward_ad.unpack_dual(tensor).tangent is not None


def _with_parameters(module: Any, others: Mapping[int, Tensor]) -> Any:
    """A copy of a module with other parameters, by their ids; those not named are held fixed."""

    def other(parameter: Tensor | None) -> Tensor | None:
        return None if parameter is None else others.get(id(parameter), parameter.detach())

    twin = copy.copy(module)
    twin.__dict__.update(
        _parameters={name: other(p) for name, p in module._parameters.items()},
        _modules={name: m and _with_parameters(m, others) for name, m in module._modules.items()},
    )
    return twin


class _Sandwich(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: Layers, x: Tensor, *tensors: Tensor) -> Tensor:
        sandwich = ConvolutionSandwich(layers.inner, layers.outer, layers.bias, layers.padding)
        core = sandwich.core(x, lambda features, tile: layers.profile.slope(features))
        ctx.layers = layers
        ctx.save_for_backward(core, x, *tensors)
        return sandwich.finished(core)

    @staticmethod
    def backward(ctx: Any, q: Tensor) -> tuple[Tensor | None, ...]:
        core, *sources = ctx.saved_tensors
        layers, wanted = ctx.layers, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return None, *_differentiable(layers, sources, wanted, q)
        x, *tensors = (tensor.detach() for tensor in sources)
        for tensor in tensors[len(tensors) - len(layers.parameters) :]:
            tensor.requires_grad_()
        fixed = layers.of(tensors)

        def pull(one: Tensor) -> tuple[Tensor, ...]:
            with without_tf32(x.device):
                return _Pairing(fixed, x, core, one, wanted).gradients()

        found = iter(pull_back(pull, q))
        return None, *(next(found) if asked else None for asked in wanted)


def _differentiable(
    layers: Layers, sources: Sequence[Tensor], wanted: Sequence[bool], q: Tensor
) -> list[Tensor | None]:
    """Derivatives of ``<q, L^T s(K x + b)>`` with a graph to q and the sources."""
    # A tensor may be there twice, as a filter of K and of L: each place is a tensor of its own.
    x, *tensors = places = [source.view_as(source) for source in sources]
    value = layers.of(tensors).formula(x)
    asked = [place for place, is_asked in zip(places, wanted, strict=True) if is_asked]
    found = iter(
        torch.autograd.grad(value, asked, q, create_graph=True, allow_unused=True) if asked else ()
    )
    return [next(found) if is_asked else None for is_asked in wanted]


class _Pairing:
    """Derivatives of ``<L q, s(K x + b)>``.

    Args:
        layers: K, L, b and s, detached.
        x: images of shape (B, channels, *spatial).
        core: the derivative by what the last convolution of L sees.
        q: cotangent, shape of x.
        wanted: for x and each tensor of the layers whether its derivative is wanted.
    """

    def __init__(
        self, layers: Layers, x: Tensor, core: Tensor, q: Tensor, wanted: Sequence[bool]
    ) -> None:
        self.layers, self.shape, self.wanted = layers, tuple(x.shape[2:]), wanted
        depth, padding = len(layers.inner), layers.padding
        inner, outer = any(wanted[1 : 1 + depth]), any(wanted[1 + depth : 1 + 2 * depth])
        self.of_parameters = [torch.zeros_like(p) for p in layers.parameters]
        self.of_bias = None if layers.bias is None else torch.zeros_like(layers.bias)
        self.left = _Side(layers.outer, q, None, padding, by_image=False, by_filters=outer)
        self.right = _Side(
            layers.inner, x, layers.bias, padding, by_image=wanted[0], by_filters=inner
        )
        self.core = core
        self.spread = self.right.room()

    def gradients(self) -> tuple[Tensor, ...]:
        """What is wanted by x, the filters of K and L, the bias and the profile's parameters."""
        last = self.layers.inner[-1]
        for tile in cut(len(self.right.source), self.shape, last):
            self._add(tile)
        right = self.right.finish(self.right.padded, self.spread)
        left = self.left.finish(self.left.reduced, self.core)
        bias = [] if self.of_bias is None else [self.of_bias]
        found = [*right, *left[1:], *bias, *self.of_parameters]
        return tuple(part for part, asked in zip(found, self.wanted, strict=True) if asked)

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

    Args:
        filters: those of the chain.
        image: the image.
        bias: of the last convolution.
        padding: of every convolution.
        by_image: whether the derivative by the image is wanted.
        by_filters: whether those by the filters are.
    """

    def __init__(
        self,
        filters: Sequence[Tensor],
        image: Tensor,
        bias: Tensor | None,
        padding: Padding,
        *,
        by_image: bool,
        by_filters: bool,
    ) -> None:
        last = filters[-1]
        halves = [size // 2 for size in last.shape[2:]]
        with torch.enable_grad():
            image = image.detach().requires_grad_(by_image)
            head = [layer.detach().requires_grad_(by_filters) for layer in filters[:-1]]
            self.reduced = image
            for layer in head:
                self.reduced = correlate(self.reduced, layer, None, padding)
            widths = [half for half in reversed(halves) for _ in range(2)]
            circular = padding == "circular"
            self.padded = wrap(self.reduced, halves) if circular else F.pad(self.reduced, widths)
        self.sources = [image, *head]
        self.source = laid_out(self.padded.detach())
        self.last, self.of_last = Correlation(last, bias, padding), torch.zeros_like(last)
        self.mirror = Correlation(mirrored(last), None, padding)
        self.by_filters = by_filters

    def features(self, tile: Tile) -> Tensor:
        """``K x + b`` on the tile without a margin."""
        return self.last.valid(tile.box(self.source, reach=1))

    def collect(self, tile: Tile, slope: Tensor) -> None:
        """Add what the derivative by the features of a tile gives for the last convolution."""
        if self.by_filters:
            derivative = _WEIGHT_GRADIENT[len(tile.shape)]
            box = tile.box(self.source, reach=1)
            self.of_last += derivative(box, list(self.of_last.shape), slope)

    def room(self) -> Tensor | None:
        """Zeros for the derivative by ``padded``, where something is made of it."""
        return torch.zeros_like(self.source) if self.padded.requires_grad else None

    def transposed(self, slope: Tensor) -> Tensor:
        """The last convolution's transpose on a tile, its border included."""
        return self.mirror.full(slope)

    def finish(self, end: Tensor, derivative: Tensor | None) -> list[Tensor]:
        """Derivatives by the image and by all filters, from that by ``end``; anything where they
        are not wanted."""
        wanted = [source for source in self.sources if source.requires_grad]
        if not wanted:
            return [*self.sources, self.of_last]
        found = iter(torch.autograd.grad(end, wanted, derivative))
        by_sources = [next(found) if s.requires_grad else s for s in self.sources]
        return [*by_sources, self.of_last]
