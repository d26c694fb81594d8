"""How far a field is from variational: the symmetry defect of its Jacobian."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.modes import verb
from equipoise.randomness import signs_like
from equipoise.regularizers.base import Regularizer
from equipoise.vectors import dot


@dataclass(frozen=True)
class SymmetryDefect:
    """Estimate of ``sigma = ||J - J^T||_F / ||J||_F`` in [0, 2]; zero iff R is a gradient.

    Args:
        value: the estimate.
        standard_error: its standard error from the spread of the probes (jackknife).
        probes: number of random probes.
    """

    value: float
    standard_error: float
    probes: int


@verb
def symmetry_defect(
    regularizer: Regularizer, x: Tensor, *, probes: int = 8, seed: int = 0
) -> SymmetryDefect:
    """Estimate the symmetry defect of ``J_R(x)`` with random probes (theory, section 9).

    Formula: with Rademacher v_i, u_i = J v_i, w_i = J^T v_i,
    ``sigma^2 = sum ||u_i - w_i||^2 / sum (||u_i||^2 + ||w_i||^2) / 2``.

    Args:
        regularizer: the field R.
        x: images of shape (B, C, ...); every sample counts as further probes.
        probes: number of probes per sample, at least 2.
        seed: seed of the probes.

    Returns:
        The estimate with its standard error; exactly 0 for a declared gradient field.
    """
    if regularizer.gradient_field:
        return SymmetryDefect(0.0, 0.0, 0)
    generator = torch.Generator().manual_seed(seed)
    top, bottom = [], []
    with torch.no_grad():
        near = regularizer.linearize(x)
        for _ in range(max(2, probes)):
            v = signs_like(x, generator)
            u, w = near.jvp(v), near.vjp(v)
            top.append(dot(u - w, u - w))
            bottom.append(0.5 * (dot(u, u) + dot(w, w)))
    numerator, denominator = torch.cat(top).double(), torch.cat(bottom).double()
    count = len(numerator)
    value = _ratio(numerator.sum(), denominator.sum())
    left_out = [
        _ratio(numerator.sum() - numerator[i], denominator.sum() - denominator[i])
        for i in range(count)
    ]
    mean = sum(left_out) / count
    spread = sum((v - mean) ** 2 for v in left_out) * (count - 1) / count
    return SymmetryDefect(value, math.sqrt(spread), count)


def _ratio(numerator: Tensor, denominator: Tensor) -> float:
    size = float(denominator)
    return math.sqrt(max(0.0, float(numerator)) / size) if size > 0 else 0.0
