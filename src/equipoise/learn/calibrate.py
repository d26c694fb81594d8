"""Set strength and scale of an untrained regulariser, so that learning starts where it helps."""

from __future__ import annotations

import math
from itertools import product

import torch

from equipoise.learn.bank import PatchBank
from equipoise.metrics import mean_psnr
from equipoise.modes import verb
from equipoise.regularizers import Scaled
from equipoise.solve import solve

#: Scales s and forces a / s that are tried, relative to the present ones.
SCALES = (1.0, 4.0, 16.0)
FORCES = tuple(10.0 ** (k / 2) for k in range(-7, 2))


@verb
def calibrate(regularizer: Scaled, bank: PatchBank, *, samples: int = 4) -> None:
    """Choose a and s of ``Scaled`` by PSNR on a few training patches, on a grid.

    The force a / s decides how far the field pulls, s at which contrast it saturates.

    Args:
        regularizer: the scaled field; a and s are set in place.
        bank: training patches with measurements.
        samples: number of patches that are solved at each point of the grid.
    """
    visit = bank.visit(torch.arange(min(samples, len(bank))))
    a, s = regularizer.strength, regularizer.scale
    best, chosen, x = -math.inf, (a, s), visit.x
    for scale, force in product(SCALES, FORCES):
        trial = (a * scale * force, s * scale)
        regularizer.set_scales(*trial)
        equation = bank.equation(regularizer, visit.y)
        solution = solve(equation, x, tolerance=1e-2, max_evaluations=60)
        if not bool(torch.isfinite(solution.x).all()):
            x = visit.x
            continue
        x = solution.x  # the next force is near
        value = mean_psnr(solution.x, visit.truth)
        if value > best:
            best, chosen = value, trial
    regularizer.set_scales(*chosen)
