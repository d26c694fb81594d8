"""What residuals are measured by: weights, a scale and the size of the terms that cancel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.vectors import norm

#: Share of the entries of a sample, the largest, that may not decide its scale.
OUTLIERS = 0.05
#: Entries of ``A 1`` below this share of the largest tell nothing of the level of an image.
SEEN = 0.1
#: What is below so many units of rounding of the terms that it is a difference of is not resolved.
RESOLVED = 4.0


@dataclass(frozen=True)
class Gauge:
    """How the residuals of an equation are measured, sample by sample.

    Formula: ``size(e) = sqrt(sum_i (e_i / w_i)^2)``; a residual meets a tolerance where
    ``size(E(x)) <= tolerance * scale``.

    Args:
        scale: positive, shape (B,).
        terms: size of the terms whose sum E is, which its rounding is relative to, shape (B,).
        weights: w in (0, 1], shape (1 or B, C, *spatial), like the diagonal of E's Jacobian where
            that varies from pixel to pixel; None: 1.
    """

    scale: Tensor
    terms: Tensor
    weights: Tensor | None = None

    def size(self, e: Tensor) -> Tensor:
        """The measured size of each sample, shape (B,)."""
        return weighted_norm(e, self.weights)

    def select(self, keep: Tensor) -> Gauge:
        """The gauge of the samples ``keep`` (indices)."""
        weights = self.weights
        if weights is not None and len(weights) == len(self.scale):
            weights = weights[keep]
        return Gauge(self.scale[keep], self.terms[keep], weights)


def weighted_norm(e: Tensor, weights: Tensor | None) -> Tensor:
    """``sqrt(sum_i (e_i / w_i)^2)`` of each sample, shape (B,)."""
    return norm(e if weights is None else e / weights)


def scale_above_rounding(size: Tensor, terms: Tensor, dtype: torch.dtype) -> Tensor:
    """The size of what is left of the data at a constant image, as a scale.

    Where that is nothing but rounding of the terms, they are the scale; where they are 0, it is 1.
    """
    resolved = size > RESOLVED * torch.finfo(dtype).eps * terms
    scale = torch.where(resolved & torch.isfinite(size), size, terms)
    return torch.where((scale > 0) & torch.isfinite(scale), scale, torch.ones_like(scale))


def clipped(v: Tensor) -> Tensor:
    """v of shape (B, ...) with its largest entries shortened to those that are no outliers.

    Of each sample the share ``OUTLIERS`` with the largest moduli (at least one of three or more) is
    cut to the modulus of the largest other one; nothing is cut where that is 0.
    """
    moduli = v.abs().flatten(1)
    count = moduli.shape[1]
    if count < 3:
        return v
    top = moduli.kthvalue(count - max(1, int(OUTLIERS * count)), dim=1).values
    top = torch.where(top > 0, top, torch.inf).reshape(-1, *[1] * (v.dim() - 1))
    if v.is_complex():
        return v * (top / v.abs().clamp_min(torch.finfo(v.dtype).tiny)).clamp_max(1.0)
    return torch.minimum(torch.maximum(v, -top), top)


def level_and_spread(y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """The constant c for which ``c u`` is nearest to y, outliers left aside, and what varies.

    Args:
        y: measurements, shape (B, ...).
        u: those of an image of ones, shape (1 or B, ...).

    Returns:
        c, and the root mean square of ``y / u - c`` where u is not small, both of shape (B,).
    """
    y, u = y.flatten(1), u.flatten(1)
    if y.is_complex():  # of Fourier coefficients few tell the level
        power = u.abs().square().sum(1).clamp_min(torch.finfo(y.real.dtype).tiny)
        c = (u.conj() * y).real.sum(1) / power
        return c, norm(y - c.unsqueeze(1) * u) / power.sqrt()
    seen = u.abs() >= SEEN * u.abs().amax(1, keepdim=True).clamp_min(torch.finfo(u.dtype).tiny)
    count = seen.sum(1).clamp_min(1)
    ratio = torch.where(seen, y / torch.where(seen, u, 1.0), torch.nan)
    middle = ratio.nanmedian(1, keepdim=True).values.nan_to_num(0.0)
    rest = clipped((ratio - middle).nan_to_num(0.0))
    shift = rest.sum(1) / count
    spread = norm(torch.where(seen, rest - shift.unsqueeze(1), 0.0)) / count.sqrt()
    return middle.squeeze(1) + shift, spread
