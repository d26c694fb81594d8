"""Tikhonov and total variation, with the strength tuned on the validation photographs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from equipoise.equation import Equation
from equipoise.learn.validation import Validation, psnr
from equipoise.regularizers import Regularizer
from equipoise.solve import solve

#: The search walks in these steps of log10 of the strength, from 0 and at most so far.
STRIDE, FARTHEST = 0.5, 6.0
#: PSNR in dB by which a step must fall to count: very strong baselines are all the same constant.
FALL = 1e-3
#: The search ends when log10 of the strength is known to this width; PSNR curves of the
#: baselines bend by some 8 dB per squared decade, so that this is worth less than 0.02 dB.
WIDTH = 0.04
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class Tuned:
    """A tuned strength.

    Args:
        alpha: the strength with the best mean PSNR on the validation photographs.
        psnr: that PSNR in dB.
        gap: how much worse, in dB, the two ends of the final bracket are; the optimum is within
            about that of ``psnr``.
        solves: number of strengths that were tried.
    """

    alpha: float
    psnr: float
    gap: float
    solves: int


def tune_alpha(
    regularizer: Regularizer, validation: Validation, *, tolerance: float, max_evaluations: int
) -> Tuned:
    """Maximise the mean validation PSNR over alpha: a walk, then golden section, on log10.

    Args:
        regularizer: a field without learned parameters.
        validation: held-out measurements; solves are warm-started from strength to strength.
        tolerance: relative residual of every solve.
        max_evaluations: limit of evaluations of every solve.

    Returns:
        The optimum with the width of what is not known about it.
    """
    x = validation.x
    tried: dict[float, float] = {}

    def value(exponent: float) -> float:
        nonlocal x
        if exponent not in tried:
            equation = Equation(
                validation.problem.physics, validation.y, regularizer, 10.0**exponent
            )
            solution = solve(equation, x, tolerance=tolerance, max_evaluations=max_evaluations)
            x = solution.x
            tried[exponent] = float(psnr(x, validation.truth).mean())
        return tried[exponent]

    best = climb(value, 0.0, STRIDE, FARTHEST)
    low, high = golden_section(value, best - STRIDE, best + STRIDE, WIDTH)
    ends = min(value(low), value(high))
    top = max(tried, key=lambda e: tried[e])
    gap = tried[top] - ends
    return Tuned(10.0**top, tried[top], gap, len(tried))


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


def as_double(validation: Validation) -> Validation:
    """The same measurements in float64, for baselines that are nearly nonsmooth."""
    problem = validation.problem.with_dtype(torch.float64)
    return Validation(
        problem.for_shape(tuple(validation.truth.shape[1:])),
        validation.truth.double(),
        validation.y.double(),
        validation.x.double(),
        validation.tolerance,
        validation.max_evaluations,
    )
