"""The analysis operators K inside regularisers: chains of convolutions and dense matrices."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from equipoise.bounds import inflate
from equipoise.checks import require_positive
from equipoise.convolutions.circulant import transfer
from equipoise.convolutions.convolution import (
    CONVOLUTIONS,
    Padding,
    chain,
    chain_adjoint,
    check_filters,
    dct_filters,
    zero_mean,
)
from equipoise.convolutions.norm import Peaks, convolution_norm
from equipoise.convolutions.sandwich import (
    ConvolutionSandwich,
    DenseSandwich,
    Sandwich,
    check_image_shape,
)
from equipoise.convolutions.sandwich_gradient import Layers, sandwiched
from equipoise.errors import UsageError
from equipoise.regularizers.profiles import Profile

#: The tensors an operator is made of, after normalisation.
Weights = tuple[Tensor, ...]


class AnalysisOperator(nn.Module, ABC):
    """A linear map K from images to features (B, features, ...) with its adjoint and its norm.

    The parameters may differ from the weights that act: :meth:`weights` derives these
    (differentiably), so that a solve does it once.
    """

    features: int

    @abstractmethod
    def weights(self) -> Weights:
        """The tensors that :meth:`apply` uses, as differentiable functions of the parameters."""

    @abstractmethod
    def apply_to(self, x: Tensor, weights: Weights, bias: Tensor | None = None) -> Tensor:
        """``K x + b``."""

    @abstractmethod
    def adjoint(self, z: Tensor, weights: Weights) -> Tensor:
        """``K^T z``, of shape (B, channels, *spatial)."""

    def field(
        self, x: Tensor, inner: Weights, outer: Weights, bias: Tensor | None, profile: Profile
    ) -> Tensor:
        """``L^T s(K x + b)`` for two operators of this kind, differentiable any number of times.

        Args:
            x: images of shape (B, channels, *spatial).
            inner: weights of K.
            outer: weights of L.
            bias: b, shape (features,), or None.
            profile: its slope is s.
        """
        return self.adjoint(profile.slope(self.apply_to(x, inner, bias)), outer)

    @abstractmethod
    def norm(self, weights: Weights) -> float:
        """Proved upper bound of ``||K||``, valid for every image size."""

    @abstractmethod
    def sandwich(self, inner: Weights, outer: Weights, bias: Tensor | None) -> Sandwich:
        """``x -> L^T s(K x + b)`` for two operators of this kind, prepared without a graph.

        Args:
            inner: weights of K.
            outer: weights of L.
            bias: b, shape (features,), or None.
        """

    def autocorrelations(self, inner: Weights, outer: Weights) -> Callable[[], Tensor] | None:
        """What makes centred kernels a_k with ``K^T diag(c) K = sum_k c_k a_k *``; None: nothing.

        Of two operators K is the mean. The kernels have shape
        (features, channels, channels, *sizes), odd sizes.
        """
        return None

    @staticmethod
    def weighted(weights: Weights, gains: Tensor) -> Weights:
        """Weights of ``diag(gains) K``.

        Args:
            weights: of K.
            gains: one number per feature, shape (features,).
        """
        last = weights[-1]
        return (*weights[:-1], gains.to(last).reshape(-1, *[1] * (last.dim() - 1)) * last)


class ConvolutionChain(AnalysisOperator):
    """One or several convolutions without bias, each padded to keep the image size.

    Args:
        channels: number of image channels.
        filters: number of outputs of each convolution.
        kernel_size: odd size of all filters.
        dims: number of spatial axes, 1 to 3.
        padding: ``"zero"`` or ``"circular"``, in every convolution.
        zero_mean: make every filter of the first convolution zero-mean, channel by channel.
        normalized: divide by a norm bound, so that ``||K|| <= 1``. Circular chains are one
            convolution with the collapsed filters, whose bound is nearly the norm; with zero
            padding each convolution is divided by its own bound, and ``||K||`` may be far below 1.
        scale: Euclidean norm of each filter of the first convolution at the start.

    Raises:
        UsageError: if a size is out of range.
        UnknownNameError: if the padding does not exist.
    """

    def __init__(
        self,
        channels: int,
        filters: Sequence[int],
        kernel_size: int,
        *,
        dims: int = 2,
        padding: Padding = "zero",
        zero_mean: bool = True,
        normalized: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_filters(channels, filters, kernel_size, dims, padding)
        require_positive("scale", scale, UsageError)
        self.features = filters[-1]
        self.padding: Padding = padding
        self.zero_mean, self.normalized = zero_mean, normalized
        first = scale * dct_filters(filters[0], channels, kernel_size, dims)
        layers = [first]
        for width, size in pairwise(filters):
            layer = torch.randn(size, width, *[kernel_size] * dims)
            layers.append(layer / layer.flatten(1).norm(dim=1).reshape(-1, *[1] * (dims + 1)))
        self.layers = nn.ParameterList(layers)
        self._peaks = Peaks()

    def weights(self) -> Weights:
        """The filters of each convolution, zero-mean and normalised where asked for."""
        layers = list(self.layers)
        if self.zero_mean:
            layers[0] = zero_mean(layers[0])
        if self.normalized and self.padding == "circular":
            bound = convolution_norm(collapsed(tuple(layers)), self._peaks)
            layers[-1] = layers[-1] / _positive(bound)
        elif self.normalized:
            layers = [layer / _positive(convolution_norm(layer, self._peaks)) for layer in layers]
        return tuple(layers)

    def apply_to(self, x: Tensor, weights: Weights, bias: Tensor | None = None) -> Tensor:
        """``K_n ... K_1 x + b``, shape (B, features, *spatial)."""
        return chain(x, weights, bias, self.padding)

    def adjoint(self, z: Tensor, weights: Weights) -> Tensor:
        """``K_1^T ... K_n^T z``."""
        return chain_adjoint(z, weights, self.padding)

    def field(
        self, x: Tensor, inner: Weights, outer: Weights, bias: Tensor | None, profile: Profile
    ) -> Tensor:
        """Without features kept for the reverse pass."""
        return sandwiched(x, Layers.between(inner, outer, bias, profile, self.padding))

    def sandwich(self, inner: Weights, outer: Weights, bias: Tensor | None) -> Sandwich:
        """Tile by tile."""
        return ConvolutionSandwich(inner, outer, bias, self.padding)

    def autocorrelations(self, inner: Weights, outer: Weights) -> Callable[[], Tensor] | None:
        """Those of the collapsed filters with themselves: exact away from the border."""
        mean = tuple(0.5 * (k + l) for k, l in zip(inner, outer, strict=True))
        return partial(_autocorrelations, mean)

    def norm(self, weights: Weights) -> float:
        """The product of the proved bounds of the convolutions, or for circular chains the bound
        of the one convolution that they are."""
        layers = tuple(layer.detach().double() for layer in weights)
        if self.padding == "circular":
            layers = (collapsed(layers),)
        return math.prod(float(convolution_norm(layer, self._peaks)) for layer in layers)


class DenseOperator(AnalysisOperator):
    """A matrix on flattened images of one shape.

    Args:
        image_shape: (channels, *spatial).
        features: number of rows.
        scale: Euclidean norm of each row at the start.

    Raises:
        UsageError: if there is no spatial axis, or a size or the scale is not positive.
    """

    def __init__(self, image_shape: Sequence[int], features: int, scale: float = 1.0) -> None:
        super().__init__()
        if len(image_shape) < 2 or min(image_shape) < 1 or features < 1:
            raise UsageError(
                "image_shape must be (channels, *spatial) and features positive, got "
                f"image_shape={tuple(image_shape)}, features={features}."
            )
        require_positive("scale", scale, UsageError)
        self.image_shape, self.features = tuple(image_shape), features
        rows = torch.randn(features, torch.Size(self.image_shape).numel())
        self.matrix = nn.Parameter(scale * rows / rows.norm(dim=1, keepdim=True))

    def weights(self) -> Weights:
        """The matrix, shape (features, pixels)."""
        return (self.matrix,)

    def apply_to(self, x: Tensor, weights: Weights, bias: Tensor | None = None) -> Tensor:
        """``K x + b``, shape (B, features)."""
        check_image_shape(x, self.image_shape)
        return nn.functional.linear(x.flatten(1), weights[0], bias)

    def adjoint(self, z: Tensor, weights: Weights) -> Tensor:
        """``K^T z``."""
        return (z @ weights[0]).unflatten(1, self.image_shape)

    def sandwich(self, inner: Weights, outer: Weights, bias: Tensor | None) -> Sandwich:
        """In one piece."""
        return DenseSandwich(inner[0], outer[0], bias, self.image_shape)

    def norm(self, weights: Weights) -> float:
        """The largest singular value."""
        return inflate(float(torch.linalg.matrix_norm(weights[0].detach().double(), ord=2)))


def _positive(size: Tensor) -> Tensor:
    """Keep a norm from being zero, so that zero filters stay zero."""
    return size.clamp_min(torch.finfo(size.dtype).tiny)


def _autocorrelations(weights: Weights) -> Tensor:
    filters = collapsed(tuple(layer.double() for layer in weights))
    sizes = [2 * size - 1 for size in filters.shape[2:]]
    waves = transfer(filters, sizes)
    # A correlation multiplies by the conjugate of the transfer function of its filters.
    power = torch.einsum("kc...,kd...->kcd...", waves, waves.conj())
    axes = tuple(range(-len(sizes), 0))
    kernels = torch.fft.irfftn(power, s=sizes, dim=axes)
    return kernels.roll([size // 2 for size in sizes], axes).to(weights[0])


def collapsed(weights: Weights) -> Tensor:
    """Filters (features, channels, *sizes) of the one correlation that a chain of correlations is
    away from the border."""
    filters = weights[0]
    for layer in weights[1:]:
        reach = [size - 1 for size in layer.shape[2:]]
        mirror = layer.flip(tuple(range(2, layer.dim())))
        convolve = CONVOLUTIONS[len(reach)]
        filters = convolve(filters.transpose(0, 1), mirror, padding=reach).transpose(0, 1)
    return filters
