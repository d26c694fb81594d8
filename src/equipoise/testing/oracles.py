"""Slow but independent references: dense matrices and finite differences, for small images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.regularizers.base import Regularizer


def dense_jacobian(regularizer: Regularizer, x: Tensor) -> Tensor:
    """Compute the Jacobian matrix of R at one image by automatic differentiation of the field.

    Independent of the regulariser's own (possibly analytic) Jacobian products; relies on samples
    of a batch being independent.

    Args:
        regularizer: the field R.
        x: one image, shape (1, C, *spatial), n entries, small.

    Returns:
        Matrix of shape (n, n): entry (i, j) is the derivative of ``R(x)_i`` by ``x_j``.
    """
    n = x.numel()
    copies = x.detach().expand(n, *x.shape[1:]).clone().requires_grad_()
    # One reverse pass through n copies of the image: copy i is pulled back along e_i.
    rows = torch.eye(n, dtype=x.dtype, device=x.device).reshape(copies.shape)
    with torch.enable_grad():
        field = regularizer.field(copies)
        if not field.requires_grad:  # R does not depend on x
            return torch.zeros(n, n, dtype=x.dtype, device=x.device)
        return torch.autograd.grad(field, copies, rows)[0].reshape(n, n)


def dense_products(product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute the matrix of a linear map on images shaped like one image, column by column.

    Args:
        product: linear map that keeps the shape.
        x: one image, shape (1, C, *spatial); only its shape, dtype and device matter.

    Returns:
        Matrix of shape (n, n).
    """
    basis = torch.eye(x.numel(), dtype=x.dtype, device=x.device)
    columns = [product(e.reshape(x.shape)).detach().flatten() for e in basis]
    return torch.stack(columns, dim=1)


def dense_physics(physics: LinearPhysics, like: Tensor) -> Tensor:
    """Compute the matrix of a linear physics, column by column.

    Args:
        physics: deepinv linear physics with real measurements.
        like: one image, shape (1, C, *spatial); only its shape, dtype and device matter.

    Returns:
        Matrix of shape (p, n), p the number of measurements.
    """
    basis = torch.eye(like.numel(), dtype=like.dtype, device=like.device)
    with torch.no_grad():
        return torch.stack([physics.A(e.reshape(like.shape)).flatten() for e in basis], dim=1)


def directional_difference(
    function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, step: float = 1e-6
) -> Tensor:
    """Approximate the directional derivative by a central difference.

    Formula: ``(f(x + h v) - f(x - h v)) / (2 h)``; use float64.

    Args:
        function: f.
        x: the point.
        v: the direction, shape of x.
        step: h.
    """
    with torch.no_grad():
        return (function(x + step * v) - function(x - step * v)) / (2.0 * step)
