"""Products with the Jacobian of a field at a point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.modes import in_own_precision, leaf


@dataclass(frozen=True)
class Linearization:
    """Jacobian products of R at a point x, from one forward pass.

    Args:
        jvp: ``v -> J_R(x) v``.
        vjp: ``w -> J_R(x)^T w``; the same function as ``jvp`` for gradient fields.
    """

    jvp: Callable[[Tensor], Tensor]
    vjp: Callable[[Tensor], Tensor]

    def scaled(self, slope: Tensor) -> Linearization:
        """The products with ``slope J`` for a number."""

        def times(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            return lambda v: slope * product(v)

        jvp = times(self.jvp)
        vjp = jvp if self.vjp is self.jvp else times(self.vjp)
        return Linearization(jvp, vjp)

    def between(self, inner: torch.Size, outer: torch.Size) -> Linearization:
        """The same on images of shape ``outer``, which R sees in shape ``inner``."""

        def shaped(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            return in_own_precision(lambda v: product(v.reshape(inner)).reshape(outer))

        jvp = shaped(self.jvp)
        vjp = jvp if self.vjp is self.jvp else shaped(self.vjp)
        return Linearization(jvp, vjp)


def autograd_linearization(
    field: Callable[[Tensor], Tensor], x: Tensor, symmetric: bool
) -> Linearization:
    """Jacobian products of any field by automatic differentiation.

    ``vjp`` is one reverse pass through a graph kept from one forward pass. ``jvp`` is the same for
    symmetric Jacobians, otherwise the derivative of ``w -> J^T w`` (double back-propagation).

    Args:
        field: a differentiable map of tensors shaped like x.
        x: where to linearise.
        symmetric: whether the Jacobian is known to be symmetric.
    """
    with torch.enable_grad():
        point = leaf(x)
        value = field(point)
        if not value.requires_grad:  # a field that does not depend on x
            return Linearization(torch.zeros_like, torch.zeros_like)

        def vjp(w: Tensor) -> Tensor:
            return torch.autograd.grad(value, point, w, retain_graph=True)[0]

        if symmetric:
            return Linearization(vjp, vjp)
        probe = torch.zeros_like(value, requires_grad=True)
        pulled = torch.autograd.grad(value, point, probe, create_graph=True)[0]

    def jvp(v: Tensor) -> Tensor:
        return torch.autograd.grad(pulled, probe, v, retain_graph=True)[0]

    return Linearization(jvp, vjp)
