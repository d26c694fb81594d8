"""Log-log slopes and means with confidence intervals over independent draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch import Tensor

#: Confidence of every interval of a study.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Args:
        value: the estimate; NaN where no draw is usable.
        low: lower end; NaN where fewer than two draws are usable.
        high: upper end.
        draws: how many draws it rests on.
    """

    value: float
    low: float
    high: float
    draws: int


def log_slopes(x: Tensor, y: Tensor) -> Tensor:
    """Least-squares slope of ``log y`` against ``log x`` of every draw.

    Args:
        x: positive abscissae, shape (levels,) or (levels, draws).
        y: positive ordinates, shape (levels, draws); a draw with an ordinate that is not a
            positive number has no slope.

    Returns:
        Shape (draws,), NaN where there is no slope.
    """
    u = x.double().log().reshape(len(x), -1)
    v = torch.where(y > 0, y.double(), math.nan).log()
    u = u - u.mean(0)
    return (u * (v - v.mean(0))).sum(0) / u.square().sum(0)


def t_interval(values: Tensor) -> Interval:
    """Mean of independent values with Student's interval; values that are not finite are left out.

    The interval covers the spread of the draws (the noise), not that a power law only holds in
    the limit.

    Args:
        values: shape (draws,).
    """
    kept = values[torch.isfinite(values)].double()
    count = len(kept)
    if count == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(kept.mean())
    if count == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(student.ppf(0.5 + 0.5 * CONFIDENCE, count - 1) * kept.std() / math.sqrt(count))
    return Interval(mean, mean - half, mean + half, count)


def slope_interval(x: Tensor, y: Tensor) -> Interval:
    """Mean of the draws' log-log slopes with Student's interval.

    Args:
        x: abscissae, as in :func:`log_slopes`.
        y: ordinates, shape (levels, draws).
    """
    return t_interval(log_slopes(x, y))


def geometric_mean(values: Tensor) -> Interval:
    """Geometric mean of positive values with Student's interval on the logarithms.

    Values that are not positive and finite are left out.

    Args:
        values: shape (draws,).
    """
    logs = torch.where(values > 0, values.double(), math.nan).log()
    found = t_interval(logs)
    value, low, high = (math.exp(number) for number in (found.value, found.low, found.high))
    return Interval(value, low, high, found.draws)
