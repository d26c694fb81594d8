"""Differentiate through the iteration itself, for checks and short horizons."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.checks import require_count, require_like
from equipoise.equation import Equation
from equipoise.errors import InputError
from equipoise.modes import backward_in_own_precision, verb


@verb
def unroll(equation: Equation, x0: Tensor, steps: int, step_size: float | Tensor) -> Tensor:
    """Take gradient steps with a graph through all of them.

    Formula: ``x_{k+1} = x_k - tau E(x_k)``, k = 0, ..., steps - 1. Memory grows with the steps.

    Args:
        equation: the equation; parameters of R, alpha, y and the physics receive gradients.
        x0: starting point, shape (B, C, ...).
        steps: number of steps, at least 1.
        step_size: tau > 0, a number or one per sample broadcastable to x.

    Returns:
        ``x_steps`` with its graph.

    Raises:
        InputError: if steps or step_size are not positive and finite, x0 does not fit, or the
            equation's parts have been changed since it was built.
    """
    require_count("steps", steps)
    require_like("x0", x0, equation.like, "the images")
    sizes = torch.as_tensor(step_size)
    if not bool(((sizes > 0) & torch.isfinite(sizes)).all()):
        raise InputError(f"step_size must be positive and finite, got {step_size}.")
    equation.check_unchanged()
    x = x0
    with backward_in_own_precision() as ends:
        constants = equation.regularizer.constants()
        for _ in range(steps):
            x = x - step_size * equation.differentiable_residual(x, constants)
        ends.append(x)
    return x
