"""What every package is handed: the same field, the same step, the same start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from deepinv.optim.prior import Prior
from torch import Tensor

from benchmarks.instances import Instance
from benchmarks.peers.watch import Watch
from equipoise.differentiate import jacobian_norm
from equipoise.regularizers import Regularizer


class FoldedPrior(Prior):
    """A regulariser as a deepinv prior: equipoise's field, its constants folded once.

    Inside ``torch.no_grad()`` the field is the one that equipoise's own solvers evaluate. Where a
    graph is built, the constants are computed with a graph to the parameters. It is declared
    without a potential, so that no package evaluates one that its iteration does not need.

    Args:
        regularizer: R.
        watch: is told of every evaluation made without a graph.

    Attributes:
        reverse_passes: how often a derivative was propagated back through the field.
    """

    def __init__(self, regularizer: Regularizer, watch: Watch | None = None) -> None:
        super().__init__()
        self.explicit_prior = False
        self.regularizer, self.watch = regularizer, watch
        with torch.no_grad():
            self.folded = regularizer.constants()
        self.reverse_passes = 0

    def grad(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``R(x)``; further arguments have no meaning here."""
        if torch.is_grad_enabled():
            value = self.regularizer.field(x)
            if value.requires_grad:
                value.register_hook(self._count)
            return value
        value = self.regularizer.field(x, self.folded)
        if self.watch is not None:
            self.watch.saw(x)
        return value

    def _count(self, gradient: Tensor) -> None:
        self.reverse_passes += 1


@dataclass(frozen=True, eq=False)
class Setting:
    """One instance as the packages get it.

    Args:
        instance: problem, measurements, strength.
        prior: the field.
        lipschitz: of ``alpha R``.
        bound: of ``E``: the step of gradient methods is ``1 / bound``.
        start: x0.
    """

    instance: Instance
    prior: FoldedPrior
    lipschitz: float
    bound: float
    start: Tensor

    def watched(self, watch: Watch) -> Setting:
        """The same, its evaluations seen by a watch."""
        return replace(self, prior=FoldedPrior(self.instance.regularizer, watch))

    def step(self, x: Tensor) -> Tensor:
        """The gradient step ``x - E(x) / bound``, the map whose fixed point is the solution."""
        instance = self.instance
        physics = instance.problem.physics
        slope = physics.A_adjoint(physics.A(x) - instance.y)
        return x - (slope + instance.alpha * self.prior.grad(x)) / self.bound


def setting(instance: Instance) -> Setting:
    """Prepare an instance; nothing of it is counted in anybody's time.

    The Lipschitz constants are those at the image 0, where every ridge potential has its largest
    curvature: the global ones of the convex regulariser, by power iteration (from below).
    """
    with torch.no_grad():
        zero = torch.zeros_like(instance.truth)
        inner = jacobian_norm(instance.regularizer.linearize(zero).jvp, zero).max()
        whole = jacobian_norm(instance.equation().linearize(zero).jvp, zero).max()
    prior, start = FoldedPrior(instance.regularizer), instance.start()
    _warm_up(prior, start)
    return Setting(instance, prior, instance.alpha * float(inner), float(whole), start)


def _warm_up(prior: FoldedPrior, x: Tensor) -> None:
    """Evaluate the field without and with a graph, so that whatever is compiled is compiled."""
    with torch.no_grad():
        prior.grad(x)
    point = x.detach().requires_grad_()
    torch.autograd.grad(prior.grad(point).sum(), point)
