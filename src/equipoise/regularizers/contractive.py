"""``R = Id - N`` with a contraction N: a proved Lipschitz constant q < 1 for every image size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from equipoise.bounds import proved
from equipoise.convolutions.convolution import (
    check_filters,
    correlate,
    correlate_adjoint,
    zero_mean,
)
from equipoise.convolutions.norm import Peaks, convolution_norm
from equipoise.convolutions.sandwich import ConvolutionSandwich
from equipoise.convolutions.tiles import Tile
from equipoise.errors import UsageError
from equipoise.fields import Field, Fold, Linearization, Traits
from equipoise.regularizers.base import Constants, Regularizer

#: Initial inverse width of the activations, made for images in [0, 1].
_SHARPNESS = 20.0
_WHY = "Id minus a contraction by construction"


class ContractiveResidual(Regularizer):
    r"""``R = Id - N`` with ``N = q T_depth ... T_1 + c`` and Lip(N) <= q < 1 by construction.

    Each layer is a gradient step, :math:`T(x) = x - t K^T s(K x + b)`, with a zero-padded
    convolution K from the image to ``width`` features, activations ``s(u) = tanh(a u)/a`` of slope
    at most one, and a step t in (0, 2). The filters are divided by :func:`convolution_norm`, so
    that ``||K|| <= 1`` for every image size; then ``x -> K^T s(K x + b)`` is the gradient of a
    convex function with Lipschitz constant 1, hence cocoercive (Baillon and Haddad), and T is
    nonexpansive. The skip connections make the identity, and so a light regularisation, easy to
    learn; the composition of several gradients is not a gradient, so the Jacobian is not symmetric.

    Filters are zero-mean (constants pass every layer); b, a, t and the offset c of each channel
    are learned.

    Args:
        channels: image channels.
        width: features of each layer.
        depth: number of layers.
        kernel_size: odd size of the filters, at least 3.
        contraction: q in (0, 1).
        dims: spatial axes, 1 to 3.

    Raises:
        UsageError: if an argument is out of range.

    References:
        Meunier et al. 2022 (convex potential layers); Hertrich, Neumayer and Steidl 2021
        (convolutional proximal networks).
    """

    gradient_field = False
    contractive_residual = True
    catalogue_name: ClassVar[str] = "contractive"

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        depth: int = 4,
        kernel_size: int = 5,
        contraction: float = 0.95,
        dims: int = 2,
    ) -> None:
        super().__init__()
        if not 0.0 < contraction < 1.0:
            raise UsageError(f"contraction must lie between 0 and 1, got {contraction}.")
        if kernel_size == 1:
            raise UsageError("Zero-mean filters need kernel_size 3 or more, got 1.")
        if depth < 1:
            raise UsageError(f"depth must be at least 1, got {depth}.")
        check_filters(channels, [width], kernel_size, dims, "zero")
        self.channels, self.dims = channels, dims
        self.width, self.depth, self.kernel_size = width, depth, kernel_size
        self.contraction = float(contraction)
        kernel = (kernel_size,) * dims
        self.weight = nn.Parameter(torch.randn(depth, width, channels, *kernel))
        self.bias = nn.Parameter(torch.zeros(depth, width))
        self.log_sharpness = nn.Parameter(torch.zeros(depth, width))
        self.step_logit = nn.Parameter(torch.zeros(depth))
        self.offset = nn.Parameter(torch.zeros(channels))
        self._peaks = Peaks()

    def constants(self) -> Constants:
        """Filters of norm at most 1, sharpness of the activations, steps in (0, 2)."""
        filters = []
        for weight in map(zero_mean, self.weight):
            size = convolution_norm(weight, self._peaks)
            filters.append(weight / size.clamp_min(torch.finfo(size.dtype).tiny))
        sharpness = _SHARPNESS * self.log_sharpness.exp()
        return torch.stack(filters), sharpness, 2.0 * torch.sigmoid(self.step_logit)

    def _known(self, constants: Constants) -> Traits:
        """``1 - q`` and ``1 + q``, so that the disc hypothesis holds."""
        q = self.contraction
        return Traits(modulus=proved(1.0 - q, _WHY), lipschitz=proved(1.0 + q, _WHY))

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        filters, sharpness, steps = constants
        z = x
        for kernel, a, step, bias in zip(filters, sharpness, steps, self.bias, strict=True):
            a = self._aligned(a)
            features = correlate(z, kernel) + self._aligned(bias)
            z = z - step * correlate_adjoint(torch.tanh(a * features) / a, kernel)
        return x - self.contraction * z - self._aligned(self.offset)

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        filters, sharpness, steps = constants
        layers = []
        for kernel, a, step, bias in zip(filters, sharpness, steps, self.bias, strict=True):
            gain = a.reshape(-1, *[1] * (kernel.dim() - 1))
            sides = (gain * kernel,), (step / gain * kernel,)
            layers.append(ConvolutionSandwich(*sides, a * bias, "zero"))
        return _Layers(fold, layers, self.contraction, self._aligned(self.offset))

    def _aligned(self, vector: Tensor) -> Tensor:
        """View one number per feature so that it broadcasts over samples and pixels."""
        return vector.reshape(-1, *([1] * (self.weight.dim() - 3)))


class _Layers(Field):
    """``R(x) = x - q T_n ... T_1 x - c`` with ``T(z) = z - L^T tanh(K z + b)``.

    Args:
        fold: which images R takes.
        layers: ``z -> L^T point(K z + b)`` of each layer, ``L = D K`` with a positive diagonal D,
            so that every layer's Jacobian is symmetric.
        contraction: q.
        offset: c, to be broadcast over samples and pixels.
    """

    def __init__(
        self, fold: Fold, layers: Sequence[ConvolutionSandwich], contraction: float, offset: Tensor
    ) -> None:
        super().__init__(fold)
        self._layers, self._contraction, self._offset = tuple(layers), contraction, offset

    def _value(self, x: Tensor) -> Tensor:
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
