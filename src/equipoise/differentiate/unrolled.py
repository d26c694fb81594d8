"""Differentiate through the iteration itself, for checks and short horizons."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.equation import Equation
from equipoise.errors import InputError


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
        InputError: if steps or step_size are not positive, or if the equation's parts have been
            changed since it was built.
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}.")
    if not bool((torch.as_tensor(step_size) > 0).all()):
        raise InputError(f"step_size must be positive, got {step_size}.")
    equation.check_unchanged()
    constants = equation.regularizer.constants()
    x = x0
    for _ in range(steps):
        x = x - step_size * equation.differentiable_residual(x, constants)
    return x
