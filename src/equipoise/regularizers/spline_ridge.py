"""Ridge regularisers whose potentials are learned piece by piece, one for each filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.convolutions.convolution import Padding, check_chain
from equipoise.errors import UsageError
from equipoise.regularizers.learned_profiles import LinearSpline, Weighted
from equipoise.regularizers.operators import ConvolutionChain
from equipoise.regularizers.two_layer import AnalysisRegularizer


class SplineRidge(AnalysisRegularizer):
    """Sum of ridge functions of filter responses whose derivatives are linear splines.

    Formula: ``r(x) = sum_k a_k sum_p psi_k((K x)_k(p))`` with a chain K of convolutions, weights
    ``a_k > 0`` and ``psi_k'`` linear between the knots of a uniform grid and beyond,
    ``psi_k(0) = psi_k'(0) = 0``.

    Args:
        channels: number of image channels; 1 acts on every channel by itself.
        filters: outputs of each convolution of the chain.
        kernel_size: odd size of all filters.
        intervals: even number of intervals of the grid.
        radius: the grid covers ``[-radius, radius]``.
        monotone: keep all splines increasing, so that r is convex whatever is learned.
        dims: number of spatial axes.
        padding: ``"zero"`` or ``"circular"`` in every convolution.
        zero_mean: whether filters of the first convolution are kept zero-mean.
        scale: norm of each filter of the first convolution at the start.

    Raises:
        UsageError: if a size is out of range.
        UnknownNameError: if the padding does not exist.

    References:
        Goujon, Neumayer, Bohra, Ducotterd, Unser 2023 (convex); Goujon, Neumayer, Unser 2024
        (weakly convex).
    """

    catalogue_name: ClassVar[str] = "spline-ridge"
    operator: ConvolutionChain
    profile: Weighted

    def __init__(
        self,
        channels: int = 1,
        filters: Sequence[int] = (4, 8),
        kernel_size: int = 5,
        intervals: int = 20,
        radius: float = 3.0,
        *,
        monotone: bool = True,
        dims: int = 2,
        padding: Padding = "zero",
        zero_mean: bool = True,
        scale: float = 10.0,
    ) -> None:
        chain = ConvolutionChain(
            channels,
            filters,
            kernel_size,
            dims=dims,
            padding=padding,
            zero_mean=zero_mean,
            scale=scale,
        )
        spline = LinearSpline(filters[-1], intervals, radius, monotone=monotone)
        super().__init__(chain, Weighted(spline, filters[-1]))
        self.channels, self.dims = channels, dims

    @classmethod
    def from_arrays(
        cls,
        filters: Sequence[Tensor],
        weight: Tensor,
        curvatures: Tensor,
        radius: float,
        padding: Padding = "zero",
    ) -> SplineRidge:
        """Build from numbers, exactly as given; the splines are not held monotone.

        Formula: as of the class, with ``(K x) = filters[-1] * ( ... (filters[0] * x))`` and
        ``psi_k'' = curvatures[k, i]`` on the i-th interval.

        Args:
            filters: filters of each convolution, shapes (out, in, *sizes), one odd size for all.
            weight: the a_k, positive, shape (features,).
            curvatures: shape (features, intervals).
            radius: the grid covers ``[-radius, radius]``.
            padding: as in the constructor.

        Raises:
            UsageError: if shapes do not fit together, a number is not finite or a weight is not
                positive.
        """
        check_chain(filters)
        first, features = filters[0], len(filters[-1])
        if weight.shape != (features,) or curvatures.dim() != 2 or len(curvatures) != features:
            raise UsageError(
                f"weight must have shape ({features},) and curvatures ({features}, intervals); "
                f"got {tuple(weight.shape)} and {tuple(curvatures.shape)}."
            )
        if not all(bool(t.isfinite().all()) for t in (*filters, weight, curvatures)):
            raise UsageError("All filters, weights and curvatures must be finite.")
        if not bool((weight > 0).all()):
            raise UsageError("All weights must be positive.")
        ridge = cls(
            channels=first.shape[1],
            filters=[len(layer) for layer in filters],
            kernel_size=first.shape[2],
            intervals=curvatures.shape[1],
            radius=float(radius),
            monotone=False,
            dims=first.dim() - 2,
            padding=padding,
            zero_mean=False,
        ).to(first)
        spline = ridge.profile.profile
        assert isinstance(spline, LinearSpline)
        with torch.no_grad():
            for parameter, layer in zip(ridge.operator.layers, filters, strict=True):
                parameter.copy_(layer)
            ridge.profile.log_weight.copy_(weight.double().log())
            spline.raw.copy_(curvatures)
        return ridge
