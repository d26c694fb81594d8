"""The regularisers of a study, by name, in float64; built-in ones, or trained ones that ship."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equipoise.convolutions.norm import convolution_norm
from equipoise.errors import UnknownNameError
from equipoise.regularizers import Regularizer, Residual, RidgeRegularizer, build, load_regularizer
from equipoise.shipped import names, pretrained
from equipoise.study.settings import LOADED, REGULARIZERS, StudySettings

#: Contraction factor of the contractive residual network.
CONTRACTION = 0.9
#: Inverse of the filter response at which the ridge potentials turn from quadratic to linear.
RIDGE_SCALE = 10.0
#: Gain of the unconstrained network: above 1, so that R = Id - N is not monotone.
GAIN = 3.0
#: Its features.
WIDTH = 8
#: How far the second layer of that network is from the adjoint of the first.
UNTIED = 0.3


class UnconstrainedNetwork(nn.Module):
    """``N(x) = K2^T tanh(g K1 x)``: bounded, so that R = Id - N is coercive, but no contraction.

    Hypothesis (C) of the theory holds, hence equilibria exist; nothing makes them unique. K2 is
    near K1, which gives R several stable zeros, and different from it: R is no gradient. g is about
    the Lipschitz constant of N.
    """

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.randn(WIDTH, 1, 3, 3)
        other = kernel + UNTIED * torch.randn(WIDTH, 1, 3, 3)
        self.inner, self.outer = nn.Parameter(_unit(kernel)), nn.Parameter(_unit(other))

    def forward(self, x: Tensor) -> Tensor:
        """Apply N to images with one channel."""
        features = torch.tanh(GAIN * nn.functional.conv2d(x, self.inner, padding=1))
        return nn.functional.conv_transpose2d(features, self.outer, padding=1)


def _unit(kernel: Tensor) -> Tensor:
    size: Tensor = convolution_norm(kernel)
    return kernel / size


def regularizer_by_name(name: str, settings: StudySettings) -> tuple[Regularizer, str]:
    """Build a regulariser (networks are drawn from the study's seed), or load the user's.

    It is in float64 with fixed parameters; the second value says what it is.

    Args:
        name: one of the built-in names, of weights that ship (at the noise that they were learned
            at), or ``weights``.
        settings: seed and weights file.

    Raises:
        UnknownNameError: if there is no such regulariser.
        WeightsError: if the weights cannot be read.
    """
    if name == LOADED:
        assert settings.weights is not None, "checked by the settings"
        regularizer = load_regularizer(settings.weights)[0]
        words = f"{type(regularizer).__name__} of the weights file"
    elif name in names():
        regularizer, words = pretrained(name), f"{name}, which was trained for denoising and ships"
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            regularizer, words = _built(name)
    return regularizer.double().eval().requires_grad_(False), f"R: {words}."


def _built(name: str) -> tuple[Regularizer, str]:
    if name == "tikhonov":
        return build("tikhonov"), "the identity (Tikhonov), with mu = L = 1"
    if name == "crr":
        words = "a convex ridge regulariser with the eight cosine filters of 3 x 3 pixels"
        return _convex_ridge(), words
    if name == "contractive":
        field = build("contractive", width=8, depth=2, kernel_size=3, contraction=CONTRACTION)
        return field, f"Id - N with a network N of Lipschitz constant {CONTRACTION:g} by design"
    if name == "network":
        words = f"Id - N with an unconstrained network N of gain {GAIN:g}"
        return Residual(UnconstrainedNetwork(), channels=1), words
    raise UnknownNameError("regularizer of a study", name, REGULARIZERS)


def _convex_ridge() -> Regularizer:
    """Cosine filters; quadratic up to responses of about a tenth, linear beyond."""
    ridge = RidgeRegularizer(filters=(8,), kernel_size=3)
    with torch.no_grad():
        ridge.profile.log_scale.fill_(math.log(RIDGE_SCALE))
        ridge.profile.log_slope.zero_()
    return ridge
