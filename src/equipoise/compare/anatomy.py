"""What can be drawn of a learned field: its filters and its profile functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from equipoise.compare.records import Array
from equipoise.regularizers import Regularizer, Scaled
from equipoise.regularizers.operators import ConvolutionChain, Weights, collapsed
from equipoise.regularizers.two_layer import AnalysisRegularizer, UntiedRegularizer

#: Points at which a profile is drawn, and the responses over which it is drawn.
POINTS, REACH = 201, 0.1


@dataclass(frozen=True)
class Anatomy:
    """Filters and profiles of a field.

    Args:
        filters: analysis filters (K or W1), shape (filters, h, w), or None.
        synthesis: W2 as correlation filters aligned with them, or None where tied.
        profiles: (t, values), values of shape (curves, len(t)): potentials where R is a gradient,
            activations otherwise, as functions of the response of a unit-norm filter.
    """

    filters: Array | None = None
    synthesis: Array | None = None
    profiles: tuple[Array, Array] | None = None


def anatomy(regularizer: Regularizer) -> Anatomy:
    """Take a field apart as far as it is made of convolutions and profiles.

    Args:
        regularizer: any field; a ``Scaled`` is looked into.
    """
    inner = regularizer.regularizer if isinstance(regularizer, Scaled) else regularizer
    assert isinstance(inner, Regularizer)
    with torch.no_grad():
        if isinstance(inner, AnalysisRegularizer):
            weights = inner.constants()
            profiles = _profiles(regularizer, inner, weights)
            return Anatomy(_filters(inner.operator, weights), None, profiles)
        if isinstance(inner, UntiedRegularizer):
            analysis, synthesis = inner.sides()
            return Anatomy(
                _filters(inner.mean, analysis),
                _filters(inner.mean, synthesis),
                _profiles(regularizer, inner, analysis),
            )
    return Anatomy()


def _filters(operator: torch.nn.Module, weights: Weights) -> Array | None:
    """The filters from image to features, means over the image's channels, or None."""
    if not isinstance(operator, ConvolutionChain) or weights[0].dim() != 4:
        return None
    shown: Array = collapsed(weights).mean(1).double().cpu().numpy()
    return shown


def _profiles(
    outer: Regularizer,
    inner: AnalysisRegularizer | UntiedRegularizer,
    weights: Weights,
) -> tuple[Array, Array] | None:
    """Profiles in units of the image: t is the response of a filter divided by its norm."""
    a, s = (outer.strength, outer.scale) if isinstance(outer, Scaled) else (1.0, 1.0)
    if len(weights) > 1 and weights[0].dim() != 4:
        return None
    gains = collapsed(weights).flatten(1).norm(dim=1)
    features = len(gains)
    t = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64).to(weights[0])
    responses = s * gains[:, None] * t[None]
    if inner.bias is not None:
        responses = responses + inner.bias[:, None]
    columns = responses.T.reshape(POINTS, features, 1, 1)
    if isinstance(inner, AnalysisRegularizer):
        values = a / s**2 * inner.profile.value(columns)
    else:
        values = a / s * gains.reshape(1, -1, 1, 1) * inner.profile.slope(columns)
    curves = values.reshape(POINTS, features).T.double().cpu().numpy()
    order = np.argsort(-np.abs(curves).max(axis=1))
    return t.double().cpu().numpy(), curves[order]
