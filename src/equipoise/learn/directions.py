"""Directions away from the truth along which the margin of the source condition is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.certify.source_condition import SourceSolver
from equipoise.gram import SpectralCalculus
from equipoise.linear import ConjugateGradients
from equipoise.randomness import normal_like
from equipoise.vectors import expand

#: Deviation of the noise among the directions, for images in [0, 1].
NOISE = 0.1
#: A physics with a kernel is a mask if no other singular value is below this share of the largest.
MASK = 0.1
#: Directions need no precision: the margin is asked for along those that come out.
FILTERING = ConjugateGradients(tolerance=1e-2, max_products=30)


class Directions:
    """Draw e for ``<R(x + e) - R(x), e> >= kappa ||e||^2``: where the data do not decide.

    Formula: ``e = F v`` with F the projection on ker A for masks (in space or in the physics' own
    basis), otherwise ``F = beta (A^T A + beta I)^{-1} / nu`` with nu the filter's norm. Each v is,
    with equal chance, a random share of the way to the starting image, noise of a random level up
    to ``NOISE``, or, for masks alone, a random share of the way to another image of the batch.
    Unprojected, that way would end at an image where R is to vanish, too.

    Args:
        solver: the physics with beta.
        gain: nu, the norm of the filter.

    References:
        Theory, section 7 (margin).
    """

    def __init__(self, solver: SourceSolver, gain: float) -> None:
        self.solver, self.gain = solver, gain
        self.masking = solver.calculus is not None and is_mask(solver.calculus)

    def draw(self, x: Tensor, start: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one direction for each image.

        Args:
            x: true images, shape (B, C, ...).
            start: starting images of the reconstruction, shape of x.
            generator: a CPU generator.

        Returns:
            Directions of the shape of x; zero where start or neighbour equal x.
        """
        count = len(x)
        kind = torch.randint(3 if self.masking else 2, (count,), generator=generator)
        share = torch.rand(count, generator=generator, dtype=torch.float64)
        noise = normal_like(x, generator)
        kind, share = kind.to(x.device), share.to(x)
        v = torch.where(expand(kind == 0, x), start - x, NOISE * noise)
        v = torch.where(expand(kind == 2, x), x.roll(1, 0) - x, v)
        return self.filtered(expand(share, x) * v)

    @torch.no_grad()
    def filtered(self, v: Tensor) -> Tensor:
        """``F v``: what of v the measurements do not determine."""
        calculus, beta = self.solver.calculus, self.solver.beta
        if calculus is None:
            physics = self.solver.physics
            found = FILTERING.solve(lambda z: physics.A_adjoint(physics.A(z)) + beta * z, v)
            return beta / self.gain * found.x
        if self.masking:
            return calculus.kernel(v)
        return calculus.apply(lambda s, c: c / (s.square() + c), v, beta) / self.gain


def is_mask(calculus: SpectralCalculus) -> bool:
    """Whether A has a kernel and hardly weakens anything outside of it."""
    values = calculus.values
    zero = values <= calculus.rounding
    return bool(zero.any()) and bool((zero | (values >= MASK * values.max())).all())
