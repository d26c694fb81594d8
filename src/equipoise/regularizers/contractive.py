"""``R = Id - N`` with a contraction N: a proved Lipschitz constant q < 1 for every image size."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from equipoise.bounds import Bound, proved
from equipoise.errors import UsageError
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.regularizers.convolution import (
    check_filters,
    correlate,
    correlate_adjoint,
    zero_mean,
)
from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.frozen_layers import FrozenLayers
from equipoise.regularizers.linearization import Linearization
from equipoise.regularizers.lipschitz import Peaks, convolution_norm
from equipoise.regularizers.sandwich import ConvolutionSandwich

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

    @property
    def config(self) -> dict[str, Any]:
        """Catalogue name and constructor arguments."""
        return {
            "name": self.catalogue_name,
            "channels": self.channels,
            "width": self.width,
            "depth": self.depth,
            "kernel_size": self.kernel_size,
            "contraction": self.contraction,
            "dims": self.dims,
        }

    def constants(self) -> Constants:
        """Filters of norm at most 1, sharpness of the activations, steps in (0, 2)."""
        filters = []
        for weight in map(zero_mean, self.weight):
            size = convolution_norm(weight, self._peaks)
            filters.append(weight / size.clamp_min(torch.finfo(size.dtype).tiny))
        sharpness = _SHARPNESS * self.log_sharpness.exp()
        return torch.stack(filters), sharpness, 2.0 * torch.sigmoid(self.step_logit)

    def modulus(self) -> Bound:
        """``1 - q``."""
        return proved(1.0 - self.contraction, _WHY)

    def lipschitz(self) -> Bound:
        """``1 + q``; with the modulus the disc hypothesis holds."""
        return proved(1.0 + self.contraction, _WHY)

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        z, _ = self._layers(x, constants)
        return x - self.contraction * z - self._aligned(self.offset)

    def _frozen(self, constants: Constants) -> FrozenField:
        filters, sharpness, steps = constants
        layers = []
        for kernel, a, step, bias in zip(filters, sharpness, steps, self.bias, strict=True):
            gain = a.reshape(-1, *[1] * (kernel.dim() - 1))
            sides = (gain * kernel,), (step / gain * kernel,)
            layers.append(ConvolutionSandwich(*sides, a * bias, "zero"))
        return FrozenLayers(self, constants, layers, self.contraction, self._aligned(self.offset))

    @torch.no_grad()
    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        filters, _, steps = constants
        _, active = self._layers(x, constants)

        def product(v: Tensor, layers: range) -> Tensor:
            """``v - q J_T...J_T v``; every layer's own Jacobian is symmetric."""
            w = v
            for layer in layers:
                bent = (1.0 - active[layer].square()) * correlate(w, filters[layer])
                w = w - steps[layer] * correlate_adjoint(bent, filters[layer])
            return v - self.contraction * w

        upwards = range(self.depth)
        return Linearization(lambda v: product(v, upwards), lambda v: product(v, upwards[::-1]))

    def _layers(self, x: Tensor, constants: Constants) -> tuple[Tensor, list[Tensor]]:
        """``T_depth ... T_1 x`` and each layer's ``tanh(a (K z + b))``: s is this over a, and
        the slope of s one minus its square."""
        filters, sharpness, steps = constants
        z, active = x, []
        for layer in range(self.depth):
            features = correlate(z, filters[layer]) + self._aligned(self.bias[layer])
            active.append(torch.tanh(self._aligned(sharpness[layer]) * features))
            response = active[-1] / self._aligned(sharpness[layer])
            z = z - steps[layer] * correlate_adjoint(response, filters[layer])
        return z, active

    def _aligned(self, vector: Tensor) -> Tensor:
        """View one number per feature so that it broadcasts over samples and pixels."""
        return vector.reshape(-1, *([1] * (self.weight.dim() - 3)))
