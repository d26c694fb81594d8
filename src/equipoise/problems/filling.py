"""Fill missing pixels with local means of the known ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Weight of known pixels under the window from which a local mean is trusted.
ENOUGH = 0.05


def fill_missing(y: Tensor, mask: Tensor) -> Tensor:
    """Fill missing pixels by normalised convolution (Knutsson and Westin 1993).

    Formula: ``(g * (m y)) / (g * m)`` with a Gaussian g whose width doubles until enough known
    pixels lie under it; known pixels are kept.

    Args:
        y: images of shape (B, C, *spatial).
        mask: 1 known, 0 missing, broadcastable to y.

    Returns:
        Tensor of the shape of y.
    """
    known = (mask != 0).to(y.dtype).expand(y.shape)
    filled, done = known * y, known.clone()
    width = 0.7
    while width < max(y.shape[2:]):
        weight = _smooth(known, width)
        mean = _smooth(known * y, width) / weight.clamp_min(ENOUGH)
        fresh = (done == 0) & (weight >= ENOUGH)
        filled = torch.where(fresh, mean, filled)
        done = torch.where(fresh, torch.ones_like(done), done)
        width *= 2.0
    axes = tuple(range(2, y.dim()))
    total = known.sum(axes, keepdim=True).clamp_min(1.0)
    return torch.where(done == 0, (known * y).sum(axes, keepdim=True) / total, filled)


def _smooth(x: Tensor, width: float) -> Tensor:
    """Gaussian filter along every spatial axis, zero outside the image."""
    radius = int(3 * width) + 1
    t = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    g = torch.exp(-(t**2) / (2 * width**2))
    g = (g / g.sum()).reshape(1, 1, -1)
    for axis in range(2, x.dim()):
        lines = x.movedim(axis, -1)
        smooth = F.conv1d(lines.reshape(-1, 1, lines.shape[-1]), g, padding=radius)
        x = smooth.reshape(lines.shape).movedim(-1, axis)
    return x
