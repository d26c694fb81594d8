"""Fields of experts: learned filters, learned weights, one potential for all."""

from __future__ import annotations

from typing import ClassVar

from equipoise.convolutions.convolution import Padding
from equipoise.errors import UnknownNameError
from equipoise.regularizers.learned_profiles import LinearSpline, Weighted
from equipoise.regularizers.operators import ConvolutionChain
from equipoise.regularizers.profiles import LogCosh, Profile, SmoothAbs, StudentT
from equipoise.regularizers.two_layer import AnalysisRegularizer

_FIXED = {"log-cosh": LogCosh, "smooth-abs": SmoothAbs, "student-t": StudentT}
#: Experts by name; "spline" is a convex linear spline learned for each filter.
EXPERTS = (*_FIXED, "spline")


class FieldsOfExperts(AnalysisRegularizer):
    """The fields of experts of Roth and Black, with a choice of potentials.

    Formula: ``r(x) = sum_k a_k sum_p psi((k_k * x)(p))`` with learned filters k_k and weights
    ``a_k > 0``.

    Args:
        channels: number of image channels; 1 acts on every channel by itself.
        filters: number of filters.
        kernel_size: odd size of the filters.
        expert: psi: ``"student-t"``, ``log(1 + t^2 / 2)``, not convex; ``"smooth-abs"``,
            ``sqrt(t^2 + eps^2) - eps`` with ``eps = 0.1``; ``"log-cosh"``; or ``"spline"``, a
            convex potential learned for each filter.
        dims: number of spatial axes.
        padding: ``"zero"`` or ``"circular"``.
        zero_mean: whether the filters are kept zero-mean.
        scale: norm of each filter at the start (cosine filters): the contrast 1 / scale is where
            the experts begin to bend.

    Raises:
        UsageError: if a size is out of range.
        UnknownNameError: for an unknown expert or padding.

    References:
        Roth, Black 2009; Chen, Ranftl, Pock 2014 for bilevel learning.
    """

    catalogue_name: ClassVar[str] = "fields-of-experts"

    def __init__(
        self,
        channels: int = 1,
        filters: int = 24,
        kernel_size: int = 5,
        expert: str = "student-t",
        *,
        dims: int = 2,
        padding: Padding = "zero",
        zero_mean: bool = True,
        scale: float = 10.0,
    ) -> None:
        profile = Weighted(expert_profile(expert, filters), filters)
        operator = ConvolutionChain(
            channels,
            (filters,),
            kernel_size,
            dims=dims,
            padding=padding,
            zero_mean=zero_mean,
            scale=scale,
        )
        super().__init__(operator, profile)
        self.channels, self.dims = channels, dims


def expert_profile(name: str, filters: int) -> Profile:
    """The potential of that name.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name not in EXPERTS:
        raise UnknownNameError("expert", name, EXPERTS)
    return LinearSpline(filters) if name == "spline" else _FIXED[name]()
