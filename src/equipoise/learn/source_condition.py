"""Learning from the source condition: no lower-level solve, no implicit differentiation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.certify.source_condition import SourceSolver
from equipoise.gram import Gram
from equipoise.learn.bank import PatchBank
from equipoise.learn.directions import Directions
from equipoise.learn.strength import Tuned, tune_alpha
from equipoise.linear import ConjugateGradients
from equipoise.metrics import pooled_psnr
from equipoise.problems import Problem
from equipoise.regularizers import Scaled
from equipoise.regularizers.base import Regularizer
from equipoise.settings.training import TrainSettings
from equipoise.vectors import dot

#: Smallest default beta, relative to ||A||^2.
LEAST_BETA = 1e-4
#: Patches on which the strength is searched for, and how: log10 is found to this width, which is
#: worth some hundredths of a dB.
TUNING_PATCHES, TUNING_WIDTH, TUNING_TOLERANCE, TUNING_EVALUATIONS = 16, 0.1, 1e-3, 300
#: Physics without decomposition: the gradient in r is wrong by at most 2e-3 ||r||.
SOLVING = ConjugateGradients(tolerance=1e-3, max_products=50)


@dataclass(frozen=True)
class SourceTerms:
    """The two parts of the loss, one number for each image.

    Args:
        source: ``S_beta(x) / (nu n)``, shape (B,).
        slope: ``<R(x + e) - R(x), e> / ||e||^2``, shape (B,); infinite where e = 0.
    """

    source: Tensor
    slope: Tensor

    def loss(self, weight: float, margin: float) -> Tensor:
        """``mean source + weight * mean max(0, margin - slope)^2``."""
        short = (margin - self.slope).clamp_min(0.0)
        return self.source.mean() + weight * short.square().mean()


class SourceLoss:
    r"""The loss that bounds the bias of the equilibrium, and a margin that keeps R from vanishing.

    Formula: with ``r = R(x)``, ``S_beta(x) = min_w ||r - A^T w||^2 + beta ||w||^2``, and directions
    e where the data do not decide (:class:`~equipoise.learn.directions.Directions`),

    .. math:: L = E \frac{S_\beta(x)}{\nu n}
        + \lambda E \Big[\kappa - \frac{\langle R(x + e) - R(x), e\rangle}{\|e\|^2}\Big]_+^2 .

    n is the number of pixels and ``nu = beta / (s_-^2 + beta)`` the norm of
    ``beta (A^T A + beta I)^{-1}``, so that denoising, where ``S_beta = nu ||r||^2``, weighs both
    parts as a mask does. Only the product of R's size and alpha matters to the equilibrium; kappa
    fixes that size, and alpha is tuned afterwards.

    Args:
        problem: the inverse problem at the images' size; sigma gives the default beta.
        image: one image, shape (1, C, ...).
        settings: beta, lambda, kappa, seed.

    References:
        Theory, section 7, Thm 7 (our own derivation).
    """

    def __init__(self, problem: Problem, image: Tensor, settings: TrainSettings) -> None:
        self.problem, self.settings = problem, settings
        low, high = (bound.value for bound in Gram(problem.physics, image).bounds)
        self.beta = settings.source_beta or usual_beta(problem.sigma, high)
        gain = self.beta / (low + self.beta)
        self.solver = SourceSolver(problem.physics, image, self.beta, SOLVING)
        self.directions = Directions(self.solver, gain)
        self._unit = gain * image[0].numel()

    def terms(self, regularizer: Regularizer, x: Tensor, e: Tensor) -> SourceTerms:
        """Evaluate both parts at ``x`` and ``x + e`` in one pass, with a graph to R's parameters.

        Args:
            regularizer: the field R.
            x: clean images, shape (B, C, ...).
            e: directions, shape of x.
        """
        r, ahead = regularizer.field(torch.cat([x, x + e])).chunk(2)
        length = dot(e, e)
        moved = length > 0
        slope = dot(ahead - r, e) / torch.where(moved, length, 1.0)
        return SourceTerms(self.solver.loss(r) / self._unit, torch.where(moved, slope, math.inf))

    def sample(
        self, bank: PatchBank, rows: Tensor, step: int, turns: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The images of a step's mini-batch and their directions, a function of the step alone."""
        generator = torch.Generator().manual_seed(1_000_003 * (self.settings.seed + 1) + step)
        visit = bank.visit(rows, turns, warm=False)
        return visit.truth, self.directions.draw(visit.truth, visit.x, generator)


def usual_beta(sigma: float, squared_norm: float) -> float:
    """``sigma^2``, but at least ``1e-4 ||A||^2``.

    This is the beta of the Wiener filter ``A^T A / (A^T A + beta)`` for images of variance one: A
    is taken to decide what it sends beyond the noise. Nothing else in the loss knows the noise
    level.

    Args:
        sigma: standard deviation of the noise, for images in [0, 1].
        squared_norm: ``||A||^2``.
    """
    return max(sigma**2, LEAST_BETA * squared_norm)


@torch.no_grad()
def fix_size(regularizer: Scaled, loss: SourceLoss, bank: PatchBank, *, samples: int = 16) -> float:
    """Give R the size at which the loss of a few patches is least, and alpha the inverse.

    Formula: with R = a R_1, ``a^2 S + lambda mean (kappa - a g_i)^2`` is least at
    ``a = lambda kappa mean g / (S + lambda mean g^2)``. The equation does not change.

    Args:
        regularizer: the scaled field; its strength is set in place.
        loss: the source condition's loss.
        bank: training patches.
        samples: number of patches.

    Returns:
        alpha, with which the equation is as before; 1 if R is nowhere monotone.
    """
    rows = torch.arange(min(samples, len(bank)))
    terms = loss.terms(regularizer, *loss.sample(bank, rows, 0))
    slope = terms.slope[torch.isfinite(terms.slope)]
    weight, margin = loss.settings.margin_weight, loss.settings.margin
    top = weight * margin * float(slope.mean()) if len(slope) else 0.0
    bottom = float(terms.source.mean() + weight * slope.square().mean()) if len(slope) else 0.0
    if not (top > 0 and math.isfinite(bottom)):
        return 1.0
    factor = top / bottom
    regularizer.set_scales(regularizer.strength * factor, regularizer.scale)
    return 1.0 / factor


def settle_strength(regularizer: Scaled, bank: PatchBank, alpha: float) -> Tuned:
    """Multiply the strength by the alpha with the best PSNR on training patches.

    Args:
        regularizer: the scaled field; its strength is set in place.
        bank: training patches; the warm starts of those that are solved are updated.
        alpha: where the search starts.

    Returns:
        The alpha that was found, and whether the search ended at its limit.
    """
    visit = bank.visit(torch.arange(min(TUNING_PATCHES, len(bank))))
    tuned = tune_alpha(
        regularizer,
        bank.physics,
        visit.y,
        visit.truth,
        visit.x,
        tolerance=TUNING_TOLERANCE,
        max_evaluations=TUNING_EVALUATIONS,
        start=alpha,
        width=TUNING_WIDTH,
        score=pooled_psnr,
    )
    bank.keep(visit, x=tuned.x)
    regularizer.set_scales(regularizer.strength * tuned.alpha, regularizer.scale)
    return tuned
