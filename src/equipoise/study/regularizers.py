"""The regularisers of a study, by name, in float64: two constructed ones need no training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equipoise.errors import UnknownNameError
from equipoise.regularizers import Regularizer, Residual, build, load_regularizer
from equipoise.study.settings import LOADED, REGULARIZERS, StudySettings

#: Contraction factor of the contractive residual network.
CONTRACTION = 0.9
#: Gain of the unconstrained network: far above 1, so that R = Id - N is far from monotone.
GAIN = 4.0


@dataclass(frozen=True, eq=False)
class Field:
    """A regulariser and what to call it."""

    regularizer: Regularizer
    description: str


class UnconstrainedNetwork(nn.Module):
    """``N(x) = g K2 tanh(a K1 x)``: bounded, so that R = Id - N is coercive, but no contraction.

    Hypothesis (C) of the theory holds, hence equilibria exist; nothing makes them unique.

    Args:
        gain: Lipschitz constant aimed at.
        width: features.
    """

    def __init__(self, gain: float = GAIN, width: int = 8) -> None:
        super().__init__()
        self.gain = gain
        self.inner = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.outer = nn.Conv2d(width, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply N to images with one channel."""
        kernel = self.inner.weight / self.inner.weight.square().sum().sqrt()
        back = self.outer.weight / self.outer.weight.square().sum().sqrt()
        features = torch.tanh(self.gain * nn.functional.conv2d(x, kernel, padding=1))
        return nn.functional.conv2d(features, back, padding=1)


def regularizer_by_name(name: str, settings: StudySettings) -> Field:
    """Build a regulariser with parameters drawn from the study's seed, or load the user's.

    Args:
        name: one of the built-in names, or ``weights``.
        settings: seed and weights file.

    Raises:
        UnknownNameError: if there is no such regulariser.
        WeightsError: if the weights cannot be read.
    """
    if name == LOADED:
        assert settings.weights is not None, "checked by the settings"
        regularizer = load_regularizer(settings.weights)[0]
        words = f"{type(regularizer).__name__} of the weights file"
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            regularizer, words = _built(name)
    regularizer = regularizer.double().eval().requires_grad_(False)
    return Field(regularizer, f"R: {words}.")


def _built(name: str) -> tuple[Regularizer, str]:
    if name == "tikhonov":
        return build("tikhonov"), "the identity (Tikhonov), with mu = L = 1"
    if name == "crr":
        return build("crr"), "a convex ridge regulariser with filters drawn at random"
    if name == "contractive":
        field = build("contractive", width=8, depth=2, kernel_size=3, contraction=CONTRACTION)
        return field, f"Id - N with a network N of Lipschitz constant {CONTRACTION:g} by design"
    if name == "network":
        return (
            Residual(UnconstrainedNetwork(), channels=1),
            f"Id - N with an unconstrained network N of gain {GAIN:g}",
        )
    raise UnknownNameError("regularizer of a study", name, REGULARIZERS)
