"""Set the strength of an untrained regulariser, so that learning starts from a sensible place."""

from __future__ import annotations

import math

import torch

from equipoise.equation import Equation
from equipoise.learn.bank import PatchBank
from equipoise.learn.validation import psnr
from equipoise.regularizers.scaled import Scaled
from equipoise.solve import solve

#: Strengths that are tried, relative to the present one.
GRID = [10.0**k for k in (-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0)]


def calibrate(regularizer: Scaled, bank: PatchBank, *, samples: int = 8) -> float:
    """Choose the strength a of ``Scaled`` by PSNR on a few training patches.

    Args:
        regularizer: the scaled field; its strength is set in place.
        bank: training patches with measurements.
        samples: number of patches that are solved for each strength.

    Returns:
        The chosen strength.
    """
    rows = slice(0, min(samples, len(bank)))
    first = regularizer.strength
    best, chosen = -math.inf, first
    x = bank.x[rows]
    for factor in GRID:
        regularizer.set_strength(first * factor)
        equation = Equation(bank.physics, bank.y[rows], regularizer)
        solution = solve(equation, x, tolerance=1e-3, max_evaluations=200)
        if not bool(torch.isfinite(solution.x).all()):
            continue
        value = float(psnr(solution.x, bank.truth[rows]).mean())
        if value > best:
            best, chosen = value, first * factor
    regularizer.set_strength(chosen)
    return chosen
