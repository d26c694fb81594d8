"""The ridge regularisers as anybody would write them in PyTorch, for comparison.

Potential and gradient are separate functions, in contiguous format, eager, without any thought of
speed: with ``z = filter3 * (filter2 * (filter1 * x))``, each convolution zero-padded by 2,

    r(x) = sum over channels k and pixels of a_k [h(b z_k) / b - c h(z_k)],

h the Huber function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.instances import Weights, arrays
from benchmarks.machine import device
from equipoise.regularizers import Regularizer, RidgeRegularizer


@dataclass(frozen=True)
class Straightforward:
    """The published numbers: filters, weight a of shape (channels, 1, 1), slope b, c."""

    filters: Sequence[Tensor]
    weight: Tensor
    slope: Tensor
    weak_convexity: float

    def potential(self, x: Tensor) -> Tensor:
        """``r(x)`` of images (B, 1, H, W), shape (B,)."""
        z = self._responses(x)
        values = _huber(self.slope * z) / self.slope
        if self.weak_convexity:
            values = values - self.weak_convexity * _huber(z)
        return (self.weight * values).sum((1, 2, 3))

    def gradient(self, x: Tensor) -> Tensor:
        """The gradient of r, written out with transposed convolutions."""
        z = self._responses(x)
        slopes = (self.slope * z).clamp(-1, 1)
        if self.weak_convexity:
            slopes = slopes - self.weak_convexity * z.clamp(-1, 1)
        return self._back(self.weight * slopes)

    def gradient_by_autograd(self, x: Tensor) -> Tensor:
        """The gradient of r by automatic differentiation of :meth:`potential`."""
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            return torch.autograd.grad(self.potential(point).sum(), point)[0]

    def product(self, x: Tensor, v: Tensor) -> Tensor:
        """The Hessian of r at x times v, between the kinks of the potential's slope."""
        z = self._responses(x)
        curvature = self.slope * ((self.slope * z).abs() <= 1)
        if self.weak_convexity:
            curvature = curvature - self.weak_convexity * (z.abs() <= 1)
        return self._back(self.weight * curvature * self._responses(v))

    def _responses(self, x: Tensor) -> Tensor:
        for kernel in self.filters:
            x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        return x

    def _back(self, z: Tensor) -> Tensor:
        for kernel in reversed(self.filters):
            z = F.conv_transpose2d(z, kernel, padding=kernel.shape[-1] // 2)
        return z


def straightforward(name: Weights, dtype: torch.dtype = torch.float32) -> Straightforward:
    """The published regulariser in this form.

    Raises:
        UsageError: if the data are absent.
    """
    given = {key: value.to(device(), dtype) for key, value in arrays(name).items()}
    return Straightforward(
        [given[f"filter{i}"] for i in (1, 2, 3)],
        given["weight"][:, None, None],
        given["slope"],
        float(given["weak_convexity"]),
    )


def of_regularizer(regularizer: Regularizer) -> Straightforward:
    """A ridge regulariser in this form: the numbers that its parameters stand for, detached."""
    assert isinstance(regularizer, RidgeRegularizer)
    profile = regularizer.profile
    log_scale, log_slope = (
        log.detach()[:, None, None] for log in (profile.log_scale, profile.log_slope)
    )
    filters = [layer.detach() for layer in regularizer.operator.layers]
    filters[-1] = log_scale[..., None].exp() * filters[-1]
    return Straightforward(
        filters, (-2.0 * log_scale).exp(), log_slope.exp(), profile.weak_convexity
    )


def flops(widths: Sequence[int], kernel_size: int, pixels: int) -> int:
    """Floating-point operations of one potential and gradient of a chain of convolutions.

    Formula: ``2 * 2 pixels kernel_size^2 sum_i widths[i] widths[i+1]``: a multiplication and an
    addition for each weight and pixel, once forward and once transposed. The pointwise part and
    the saving at the border are not counted.
    """
    return 4 * pixels * kernel_size**2 * sum(map(int.__mul__, widths, widths[1:]))


def traffic(widths: Sequence[int], pixels: int, bytes_each: int = 4) -> int:
    """Bytes read and written if every layer's result goes to memory and comes back once.

    Formula: ``bytes_each pixels (2 * 2 sum_i widths[i] - 2 widths[0])``, forward and transposed,
    the image read and the gradient written once.
    """
    return bytes_each * pixels * (4 * sum(widths) - 2 * widths[0])


def _huber(t: Tensor) -> Tensor:
    return torch.where(t.abs() <= 1, 0.5 * t**2, t.abs() - 0.5)
