"""Tikhonov and total variation: what their tuning needs besides the search."""

from __future__ import annotations

import torch

from equipoise.conversion import in_double
from equipoise.learn.strength import Tuned, tune_alpha
from equipoise.learn.validation import Validation
from equipoise.regularizers import Regularizer


def tune_baseline(
    regularizer: Regularizer, validation: Validation, *, tolerance: float, max_evaluations: int
) -> Tuned:
    """Maximise the mean validation PSNR over alpha, from 1.

    Args:
        regularizer: a field without learned parameters.
        validation: held-out measurements; solves are warm-started from strength to strength.
        tolerance: relative residual of every solve.
        max_evaluations: limit of evaluations of every solve.
    """
    return tune_alpha(
        regularizer,
        validation.problem.physics,
        validation.y,
        validation.truth,
        validation.x,
        tolerance=tolerance,
        max_evaluations=max_evaluations,
    )


def as_double(validation: Validation) -> Validation:
    """The same measurements in float64, for baselines that are nearly nonsmooth."""
    problem = validation.problem.with_dtype(torch.float64)
    return Validation(
        problem.for_shape(tuple(validation.truth.shape[1:])),
        validation.truth.double(),
        in_double(validation.y),
        validation.x.double(),
        validation.tolerance,
        validation.max_evaluations,
    )
