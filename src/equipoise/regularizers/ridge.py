"""Convex and weakly convex ridge regularisers with multi-convolution filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.checks import require_not_negative
from equipoise.convolutions.convolution import Padding, check_chain
from equipoise.errors import UsageError
from equipoise.regularizers.base import Constants
from equipoise.regularizers.learned_profiles import RidgeProfile
from equipoise.regularizers.operators import ConvolutionChain
from equipoise.regularizers.two_layer import AnalysisRegularizer


class RidgeRegularizer(AnalysisRegularizer):
    """Sum of ridge functions of filter responses; the convex (CRR) and weakly convex (WCRR) one.

    Formula: ``r(x) = sum_k sum_p a_k [h(b_k z_k(p)) / b_k - c h(z_k(p))]`` with
    ``z_k = s_k (K x)_k``, ``a_k = s_k^-2``, h the Huber function and K a chain of convolutions.
    With ``normalized`` filters ``||K|| <= 1``, hence r is c-weakly convex whatever is learned: the
    strength is the equation's alpha.

    Args:
        channels: number of image channels; 1 acts on every channel by itself.
        filters: outputs of each convolution of the chain.
        kernel_size: odd size of all filters.
        weak_convexity: c; 0 gives a convex (CRR), 1 a 1-weakly convex regulariser (WCRR).
        dims: number of spatial axes.
        padding: ``"zero"`` or ``"circular"`` in every convolution.
        zero_mean: whether filters of the first convolution are kept zero-mean.
        normalized: whether ``||K|| <= 1`` by construction, which circular padding does not waste.

    Raises:
        UsageError: if a size is out of range or weak_convexity is negative.

    References:
        Goujon, Neumayer, Bohra, Ducotterd, Unser 2023 (convex); Goujon, Neumayer, Unser 2024
        (weakly convex); Hertrich, Wong, Denker et al. 2025 (the chain and the potentials here).
    """

    catalogue_name: ClassVar[str] = "ridge"
    operator: ConvolutionChain
    profile: RidgeProfile

    def __init__(
        self,
        channels: int = 1,
        filters: Sequence[int] = (4, 8),
        kernel_size: int = 5,
        weak_convexity: float = 0.0,
        *,
        dims: int = 2,
        padding: Padding = "zero",
        zero_mean: bool = True,
        normalized: bool = True,
    ) -> None:
        require_not_negative("weak_convexity", weak_convexity, UsageError)
        chain = ConvolutionChain(
            channels,
            filters,
            kernel_size,
            dims=dims,
            padding=padding,
            zero_mean=zero_mean,
            normalized=normalized,
        )
        super().__init__(chain, RidgeProfile(filters[-1], float(weak_convexity)))
        self.channels, self.dims = channels, dims

    @classmethod
    def from_arrays(
        cls,
        filters: Sequence[Tensor],
        weight: Tensor,
        slope: Tensor,
        weak_convexity: float,
        padding: Padding = "zero",
    ) -> RidgeRegularizer:
        """Build from folded constants, exactly as given.

        Formula: ``r(x) = sum_k sum_p weight_k [h(slope z_k) / slope - weak_convexity h(z_k)]``
        with ``z = filters[-1] * ( ... (filters[0] * x))``.

        Args:
            filters: filters of each convolution, shapes (out, in, *sizes), one odd size for all.
            weight: positive, shape (features,).
            slope: positive, 0-d or shape (features,).
            weak_convexity: c.
            padding: as in the constructor.

        Raises:
            UsageError: if shapes do not fit together or a weight or slope is not positive.
        """
        _check_arrays(filters, weight, slope)
        first = filters[0]
        ridge = cls(
            channels=first.shape[1],
            filters=[len(layer) for layer in filters],
            kernel_size=first.shape[2],
            weak_convexity=float(weak_convexity),
            dims=first.dim() - 2,
            padding=padding,
            zero_mean=False,
            normalized=False,
        ).to(first)
        log_scale = -0.5 * weight.double().log()
        layers = [layer.double() for layer in filters]
        layers[-1] = layers[-1] / log_scale.exp().reshape(-1, *[1] * (first.dim() - 1))
        with torch.no_grad():
            for parameter, layer in zip(ridge.operator.layers, layers, strict=True):
                parameter.copy_(layer)
            ridge.profile.log_scale.copy_(log_scale)
            ridge.profile.log_slope.copy_(slope.double().log().expand_as(log_scale))
        return ridge

    def constants(self) -> Constants:
        """The filters of the chain, the last one multiplied by the scales s."""
        return self.operator.weighted(self.operator.weights(), self.profile.log_scale.exp())


def _check_arrays(filters: Sequence[Tensor], weight: Tensor, slope: Tensor) -> None:
    check_chain(filters)
    width = len(filters[-1])
    if weight.shape != (width,) or slope.shape not in ((), (width,)):
        raise UsageError(
            f"weight must have shape ({width},) and slope () or ({width},); "
            f"got {tuple(weight.shape)} and {tuple(slope.shape)}."
        )
    numbers = torch.cat([weight.flatten(), slope.flatten()])
    if not bool(((numbers > 0) & torch.isfinite(numbers)).all()):
        raise UsageError("All weights and slopes must be positive and finite.")
