"""How an R that is not a gradient keeps its equilibrium while it learns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.equation import Equation
from equipoise.regularizers import Scaled
from equipoise.regularizers.base import Regularizer, Restrainable
from equipoise.vectors import dot, expand, norm

#: Pixel amplitude of the secant along which monotonicity is measured, on the scale of [0, 1].
SECANT = 0.05
#: Descent steps of the Rayleigh quotient per visit of a patch; directions are kept from one visit
#: to the next.
DESCENT_STEPS = 2
#: Share of the data term's smallest curvature that norm control may spend.
SHARE = 0.9


def restrainable(regularizer: Regularizer) -> bool:
    """Whether the field has means of its own to hold its modulus."""
    inner = regularizer.regularizer if isinstance(regularizer, Scaled) else regularizer
    return isinstance(inner, Restrainable)


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
    if not restrainable(regularizer):
        return False
    low, _ = equation.data.spectrum
    if not low.proved or low.value <= 1e-3:
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
    to the eigenvector of the smallest eigenvalue of the Jacobian's symmetric part, found by
    steepest descent of its Rayleigh quotient and carried from visit to visit.

    Args:
        equation: the equation with its parameters.
        x: solutions, shape (B, C, ...), without a graph.
        direction: latest directions, shape of x.
        margin: the monotonicity that is asked for.

    Returns:
        The penalty with a graph to the parameters, and the improved directions (unit norm).
    """
    near = equation.linearize(x)
    v = least_direction(lambda u: 0.5 * (near.jvp(u) + near.vjp(u)), direction, DESCENT_STEPS)
    h = SECANT / v.flatten(1).abs().amax(1).clamp_min(1e-6)
    ahead = equation.differentiable_residual(x + expand(h, v) * v)
    here = equation.differentiable_residual(x)
    slope = dot(ahead - here, v) / h
    return (margin - slope).clamp_min(0.0).square().mean(), v


def least_direction(apply: Callable[[Tensor], Tensor], direction: Tensor, steps: int) -> Tensor:
    """Lower the Rayleigh quotient ``<S v, v> / |v|^2`` of each sample by steepest descent.

    Each step takes the best combination of v and its gradient ``S v - rho v``, which needs no
    bound of S and never raises the quotient. From almost every start it tends to the smallest
    eigenvalue.

    Args:
        apply: ``v -> S v`` on batches, S symmetric.
        direction: where to start, shape (B, ...), not zero.
        steps: number of steps, one product each after the first.

    Returns:
        Unit vectors, shape of ``direction``.
    """
    v = direction / expand(norm(direction), direction)
    image = apply(v)
    for _ in range(steps):
        quotient = dot(image, v)
        gradient = image - expand(quotient, v) * v
        size = norm(gradient)
        stuck = size <= torch.finfo(v.dtype).eps * norm(image)
        w = gradient / expand(torch.where(stuck, 1.0, size), v)
        across = apply(w)
        # Smaller eigenvector (-sin, cos) of [[<S v, v>, <S v, w>], [<S v, w>, <S w, w>]].
        gap = torch.where(stuck, -1.0, quotient - dot(across, w))
        angle = 0.5 * torch.atan2(torch.where(stuck, 0.0, 2.0 * dot(across, v)), gap)
        sine, cosine = expand(angle.sin(), v), expand(torch.where(stuck, 0.0, angle.cos()), v)
        v, image = cosine * w - sine * v, cosine * across - sine * image
        length = expand(norm(v), v)
        v, image = v / length, image / length
    return v
