"""How an R that is not a gradient keeps its equilibrium while it learns."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.equation import Equation
from equipoise.regularizers import Scaled
from equipoise.regularizers.base import Regularizer, Restrainable
from equipoise.vectors import dot, expand, norm

#: Pixel amplitude of the secant along which monotonicity is measured, on the scale of [0, 1].
SECANT = 0.05
#: Power-iteration steps per visit of a patch; the direction is kept from visit to visit.
POWER_STEPS = 2
#: Share of the data term's smallest curvature that norm control may spend.
SHARE = 0.9


def hold_uniqueness(regularizer: Regularizer, equation: Equation) -> bool:
    """Keep ``s_-^2 + alpha mu > 0`` by norm control, where s_- > 0 is proved.

    With an untied pair ``W2 s(W1 x + b)``, ``mu >= -max s' ||W2^T - W1||^2 / 4``, so it suffices
    to shrink ``W2^T - W1``. The equation then has exactly one equilibrium (theory, Prop 1(iii)).

    Args:
        regularizer: the field that is trained.
        equation: any equation with the training physics and alpha.

    Returns:
        Whether the control applies; it does not where ker A is not trivial.
    """
    low, _ = equation.data.spectrum
    inner = regularizer.regularizer if isinstance(regularizer, Scaled) else regularizer
    if not isinstance(inner, Restrainable) or not low.proved or low.value <= 1e-3:
        return False
    assert isinstance(regularizer, Restrainable)
    alpha = float(torch.as_tensor(equation.alpha).detach().max())
    regularizer.hold_modulus(-SHARE * low.value / alpha)
    return True


def monotonicity_penalty(
    equation: Equation, x: Tensor, direction: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Penalise directions in which E decreases.

    Formula: ``mean_i max(0, margin - <E(x_i + h v_i) - E(x_i), v_i> / h)^2`` with unit v_i close
    to the eigenvector of the smallest eigenvalue of the Jacobian's symmetric part, found by power
    iteration on ``c I - (J + J^T)/2`` and carried from visit to visit.

    Args:
        equation: the equation with its parameters.
        x: solutions, shape (B, C, ...), without a graph.
        direction: latest directions, shape of x.
        margin: the monotonicity that is asked for.

    Returns:
        The penalty with a graph to the parameters, and the improved directions (unit norm).
    """
    near = equation.linearize(x)
    v = direction / expand(norm(direction), direction)
    shift = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for _ in range(POWER_STEPS):
        image = 0.5 * (near.jvp(v) + near.vjp(v))
        shift = torch.maximum(shift, norm(image))
        v = expand(shift, v) * v - image
        v = v / expand(norm(v).clamp_min(torch.finfo(v.dtype).tiny), v)
    h = SECANT / v.flatten(1).abs().amax(1).clamp_min(1e-6)
    ahead = equation.differentiable_residual(x + expand(h, v) * v)
    here = equation.differentiable_residual(x)
    slope = dot(ahead - here, v) / h
    return (margin - slope).clamp_min(0.0).square().mean(), v
