"""What the residuals of an equation are measured by, from its data term and its field."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.data_term import Contrast, DataTerm
from equipoise.fields import Field
from equipoise.gauge import Gauge, scale_above_rounding, weighted_norm
from equipoise.randomness import signs_like
from equipoise.vectors import expand, norm

#: The mean of the diagonal of R's Jacobian is taken to be at least this share of the mean norm of
#: its rows: of a field that mostly turns images the diagonal says little.
ROWS = 0.1
#: Pixels that A sees less than others may be solved less accurately by up to this factor.
LENIENCE = 4.0


def gauge_of(data: DataTerm, field: Field, like: Tensor, alphas: Tensor) -> Gauge:
    """The gauge of ``grad D(A x, y) + alpha R(x) = 0``; it depends on no starting point.

    The scale is the size of ``E`` at the constant image nearest to the data, which is what there is
    to solve: outliers of the data are cut, and of the regulariser there is its field at zero beside
    a constant. Where A sees pixels differently, all sizes are those of ``e_i / w_i`` with w like
    the diagonal of the Jacobian: norms of the rows of ``D''`` plus alpha times the mean of R's
    diagonal, over the largest, ``LENIENCE`` times it for pixels that are seen less.

    Args:
        data: the data part.
        field: R.
        like: images of shape (B, C, *spatial), ``A^T y``.
        alphas: alpha of each sample, shape (B,).
    """
    contrast = data.contrast()
    g = contrast.gradient
    pull = field.value(torch.zeros_like(like[:1]))
    mean = pull.mean(tuple(range(1, pull.dim())), keepdim=True)
    weights = _weights(data, field, like, alphas, contrast, pull)
    beside = (pull - mean).expand_as(g)
    size = weighted_norm(g + expand(alphas, beside) * beside, weights)
    terms = weighted_norm(data.gradient_terms(contrast.level), weights)
    terms = torch.where(torch.isfinite(terms), terms, norm(like))
    terms = terms + alphas * weighted_norm(pull, weights)
    scale = scale_above_rounding(size, terms, g.dtype)
    return Gauge(scale, torch.maximum(terms, scale), weights)


def _weights(
    data: DataTerm,
    field: Field,
    like: Tensor,
    alphas: Tensor,
    contrast: Contrast,
    pull: Tensor,
) -> Tensor | None:
    """The weights, (B, C, *spatial); R's curvature is that for changes as large as the data's."""
    level, spread = contrast.level, contrast.spread
    rows = data.row_norms(expand(level, like) * torch.ones_like(like))
    if rows is None or not bool(torch.isfinite(rows).all()):
        return None
    height = torch.where(spread > 0, spread, torch.where(level != 0, level.abs(), 1.0))
    signs = signs_like(like[0], 2)
    change = field.value(expand(height, like) * signs) - pull
    least = ROWS * norm(change) / math.sqrt(signs.numel())
    bend = torch.maximum((signs * change).flatten(1).mean(1), least) / height
    total = rows + expand(alphas * bend, like)
    top = total.flatten(1).amax(1)
    if not bool(torch.isfinite(top).all() & (total > 0).all()):
        return None
    return (LENIENCE * total / expand(top, total)).clamp_max(1.0)
