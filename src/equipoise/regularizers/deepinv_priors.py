"""deepinv's priors as regularisers of the equation."""

from __future__ import annotations

import torch
from deepinv.optim.prior import (
    RED,
    L1Prior,
    L12Prior,
    PnP,
    Prior,
    SmoothedTVPrior,
    TVPrior,
    WaveletPrior,
)
from torch import Tensor

from equipoise.errors import InputError, UsageError
from equipoise.fields import Field, Fold
from equipoise.modes import leaf
from equipoise.regularizers.base import Constants, FormulaField, Regularizer
from equipoise.regularizers.residual import ResidualDenoiser

_WHAT_WORKS = (
    "What works: RED and PnP with a denoiser and sigma=..., and explicit differentiable priors "
    "such as Tikhonov() or SmoothedTVPrior()."
)
_NOT_DIFFERENTIABLE = (L1Prior, L12Prior, WaveletPrior, TVPrior)


class ExplicitPrior(Regularizer):
    """The gradient field of a deepinv prior's potential, by automatic differentiation.

    Formula: ``r(x) = prior.fn(x)``, ``R = grad r``. deepinv's own ``grad`` is not used, so that
    field and potential agree by construction.

    Args:
        prior: a deepinv prior with a differentiable ``fn`` that returns one number per sample.
    """

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        value = self.prior.fn(x)
        if value.shape != x.shape[:1]:
            raise InputError(
                f"fn of {type(self.prior).__name__} returned shape {tuple(value.shape)} for "
                f"{len(x)} samples; a potential must be one number per sample, shape ({len(x)},)."
            )
        return value

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        live = torch.is_grad_enabled()
        with torch.enable_grad():
            point = x if x.requires_grad else leaf(x)
            value = self._potential(point, ())
            field = torch.autograd.grad(value.sum(), point, create_graph=live)[0]
        return (value, field) if live else (value.detach(), field)

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self._both(x)[1]

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        return _PriorField(self, fold, constants)


class _PriorField(FormulaField):
    """Potential and field from one evaluation of the prior."""

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(self.regularizer, ExplicitPrior)
        return self.regularizer._both(x)


def from_deepinv(prior: Prior, sigma: float | None = None) -> Regularizer:
    """Make a regulariser of a deepinv prior.

    ``RED`` has the field ``x - D(x, sigma)``, which is wrapped as it is. ``PnP`` replaces a
    proximal map by its denoiser and has no field of its own; its denoiser is wrapped in the same
    residual ``R = Id - D``, whose equilibria differ in general from the fixed points of a
    plug-and-play iteration. Explicit priors become gradient fields.

    Args:
        prior: a deepinv prior; an equipoise regulariser is returned unchanged.
        sigma: noise level of the denoiser, for ``RED`` and ``PnP``.

    Returns:
        A :class:`ResidualDenoiser`, an :class:`ExplicitPrior`, or the prior itself.

    Raises:
        UsageError: if the prior cannot be used in an equation; the message says what can.
    """
    if isinstance(prior, Regularizer):
        return prior
    name = type(prior).__name__
    if isinstance(prior, (RED, PnP)):
        if sigma is None:
            raise UsageError(
                f"{name} has a denoiser that needs a noise level: from_deepinv(prior, sigma=0.05)."
            )
        return ResidualDenoiser(prior.denoiser, sigma)
    if not isinstance(prior, Prior):
        raise UsageError(f"from_deepinv takes a deepinv prior, got {name}. {_WHAT_WORKS}")
    if sigma is not None:
        raise UsageError(f"{name} has no denoiser, so sigma means nothing to it: leave it out.")
    if isinstance(prior, _NOT_DIFFERENTIABLE) and not isinstance(prior, SmoothedTVPrior):
        raise UsageError(
            f"{name} is not differentiable, so it has no field R: use a smoothed version, for "
            "example equipoise's SmoothedTotalVariation or deepinv's SmoothedTVPrior. "
            f"{_WHAT_WORKS}"
        )
    if not prior.explicit_prior:
        raise UsageError(f"{name} has no potential that could be differentiated. {_WHAT_WORKS}")
    return ExplicitPrior(prior)
