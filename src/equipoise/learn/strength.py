"""Search for the strength alpha: a walk, then golden section, on its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.checks import require_positive
from equipoise.equation import Equation
from equipoise.metrics import mean_psnr
from equipoise.modes import verb
from equipoise.regularizers.base import Regularizer
from equipoise.solve import solve

#: The search walks in these steps of log10 of the strength and at most so far from its start.
STRIDE, FARTHEST = 0.5, 6.0
#: PSNR in dB by which a step must fall to count: very strong baselines are all the same constant.
FALL = 1e-3
#: The search ends when log10 of the strength is known to this width; PSNR curves bend by some
#: 8 dB per squared decade, so that this is worth less than 0.02 dB.
WIDTH = 0.04
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class Tuned:
    """A tuned strength.

    Args:
        alpha: the strength with the best score.
        psnr: that score in dB.
        gap: how much worse, in dB, the two ends of the final bracket are; the optimum is within
            about that of ``psnr``.
        solves: number of strengths that were tried.
        x: reconstructions of the last strength that was tried.
        at_limit: whether the search ended at its limit: then the strength is no optimum, and a
            better one may lie beyond.
    """

    alpha: float
    psnr: float
    gap: float
    solves: int
    x: Tensor
    at_limit: bool = False


@verb
def tune_alpha(
    regularizer: Regularizer,
    physics: LinearPhysics,
    y: Tensor,
    truth: Tensor,
    x: Tensor,
    *,
    tolerance: float,
    max_evaluations: int,
    start: float = 1.0,
    width: float = WIDTH,
    score: Callable[[Tensor, Tensor], float] = mean_psnr,
) -> Tuned:
    """Maximise the PSNR of the equation's solutions over alpha.

    Args:
        regularizer: a field with fixed parameters.
        physics: the operator A.
        y: measurements, shape (B, ...).
        truth: clean images, shape (B, C, ...).
        x: where the first solve starts; the others start from the one before.
        tolerance: relative residual of every solve.
        max_evaluations: limit of evaluations of every solve.
        start: strength at which the walk begins, positive; it is searched within six and a half
            powers of ten of it.
        width: width in log10 to which the strength is found, positive.
        score: ``(reconstructions, truth) -> dB``; a solve that blows up scores minus infinity.

    Returns:
        The optimum with the width of what is not known about it.

    Raises:
        InputError: if a number is not positive and finite.
    """
    for name, number in (("start", start), ("width", width)):
        require_positive(name, number)
    tried: dict[float, float] = {}

    def value(exponent: float) -> float:
        nonlocal x
        if exponent not in tried:
            equation = Equation(physics, y, regularizer, 10.0**exponent)
            solution = solve(equation, x, tolerance=tolerance, max_evaluations=max_evaluations)
            found = score(solution.x, truth)
            if math.isfinite(found) and bool(torch.isfinite(solution.x).all()):
                x = solution.x
            else:
                found = -math.inf
            tried[exponent] = found
        return tried[exponent]

    best = climb(value, math.log10(start), STRIDE, FARTHEST)
    low, high = golden_section(value, best - STRIDE, best + STRIDE, width)
    ends = min(value(low), value(high))
    top = max(tried, key=lambda e: tried[e])
    at_limit = top in (min(tried), max(tried))
    return Tuned(10.0**top, tried[top], tried[top] - ends, len(tried), x, at_limit)


def climb(value: Callable[[float], float], start: float, stride: float, farthest: float) -> float:
    """Walk down from a start, or up if that does not help, until the value falls twice in a row.

    Args:
        value: the function to maximise, unimodal up to single dips.
        start: where to start.
        stride: length of a step, positive.
        farthest: largest distance from the start.

    Returns:
        The best place that was visited.
    """
    best = start
    for step in (-stride, stride):
        place, falls = start, 0
        while falls < 2 and abs(place + step - start) <= farthest:
            place += step
            if value(place) > value(best):
                best, falls = place, 0
            elif value(place) < value(best) - FALL:
                falls += 1
        if best != start:
            break
    return best


def golden_section(
    value: Callable[[float], float], low: float, high: float, width: float
) -> tuple[float, float]:
    """Shrink a bracket of a unimodal function's maximum to a width; return its ends."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    while high - low > width:
        if value(left) < value(right):
            low, left = left, right
            right = low + GOLDEN * (high - low)
        else:
            high, right = right, left
            left = high - GOLDEN * (high - low)
    return low, high
