"""Bootstrap intervals over test photographs."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import bootstrap

from equipoise.compare.records import Array, Interval
from equipoise.errors import InputError


def bootstrap_interval(values: Array, seed: int = 0, resamples: int = 10_000) -> Interval:
    """Give the 95 % percentile bootstrap interval of a mean.

    Formula: the 2.5 % and 97.5 % quantiles of ``mean(values[i])``, i drawn uniformly with
    replacement. The same seed gives the same interval. For few values the interval tends to be
    too narrow (it cannot leave the range of the values), which a reader must be told.

    Args:
        values: one finite number per photograph, shape (n,), n >= 1.
        seed: seed of the resampling.
        resamples: number of resamples, at least 1.

    Returns:
        The interval; both ends are NaN for a single value, which allows no interval.

    Raises:
        InputError: if there are no values, or one is not finite, or the shape is not (n,).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(
            f"A bootstrap needs one number per photograph, shape (n,) with n >= 1;"
            f" got shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise InputError(
            "A bootstrap needs finite numbers; leave out the photographs without a finite score"
            " and say so."
        )
    if resamples < 1:
        raise InputError(f"The number of resamples must be at least 1; got {resamples}.")
    if len(values) == 1:
        return Interval(low=math.nan, high=math.nan)
    # Deviations from the first value keep a constant sample's interval exactly at that constant.
    deviations = values - values[0]
    found = bootstrap(
        (deviations,), np.mean, n_resamples=resamples, method="percentile", rng=seed
    ).confidence_interval
    return Interval(low=float(values[0] + found.low), high=float(values[0] + found.high))


def paired_interval(a: Array, b: Array, seed: int = 0, resamples: int = 10_000) -> Interval:
    """Give the 95 % bootstrap interval of the mean of ``a - b``, photographs kept paired.

    Args:
        a: one finite number per photograph, shape (n,).
        b: the same photographs in the same order, shape (n,).
        seed: seed of the resampling.
        resamples: number of resamples, at least 1.

    Returns:
        The interval; both ends are NaN for a single photograph.

    Raises:
        InputError: if the shapes differ, or as :func:`bootstrap_interval`.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise InputError(
            f"Paired scores need the same photographs; got shapes {a.shape} and {b.shape}."
        )
    return bootstrap_interval(a - b, seed, resamples)
