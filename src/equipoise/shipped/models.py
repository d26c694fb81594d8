"""The weights that ship with the package, by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from equipoise.errors import UnknownNameError, UsageError, WeightsError
from equipoise.regularizers import Regularizer, Scaled, load_regularizer
from equipoise.shipped.card import Card, card_of
from equipoise.shipped.default import DEFAULT

SUFFIX = ".safetensors"


def names() -> list[str]:
    """The names of the weights that ship, in alphabetical order."""
    return sorted(path.name.removesuffix(SUFFIX) for path in _folder().glob(f"*{SUFFIX}"))


def weights_file(name: str) -> Path:
    """The file of weights that ship.

    Raises:
        UnknownNameError: if there are none of that name; the message offers the nearest.
    """
    if name not in names():
        raise UnknownNameError("pretrained regularizer", name, names())
    return _folder() / f"{name}{SUFFIX}"


def shipped(name: str, device: str | torch.device = "cpu") -> tuple[Scaled, Card]:
    """Weights that ship, and what is said of them.

    Args:
        name: one of :func:`names`.
        device: where the regulariser is to be.

    Raises:
        UnknownNameError: if there are none of that name.
        WeightsError: if the file is damaged.
    """
    path = weights_file(name)
    regularizer, record = load_regularizer(path, device)
    card = card_of(record)
    if card is None or not isinstance(regularizer, Scaled):
        raise WeightsError(f"'{path.name}' of this installation has no card: install it again.")
    return regularizer, card


def pretrained(
    name: str = DEFAULT, noise: float | None = None, device: str | torch.device = "cpu"
) -> Regularizer:
    """A trained regulariser that ships with the package.

    For denoising ``EquilibriumReconstructor(pretrained("wcrr-gray", noise=sigma))`` is the model;
    for other physics choose alpha, too.

    Args:
        name: one of ``equipoise models list``.
        noise: standard deviation of the noise that it is to be right for, of images in [0, 1];
            None: the noise that it was learned at.
        device: where it is to be.

    Returns:
        R in float32, a deepinv prior.

    Raises:
        UnknownNameError: if there is none of that name; the message offers the nearest.
        UsageError: if the noise is not positive.
        WeightsError: if the file is damaged.
    """
    regularizer, card = shipped(name, device)
    if noise is not None:
        if isinstance(noise, bool):
            raise UsageError(f"The standard deviation of noise is a number, got {noise}.")
        regularizer.set_scales(*card.scales(noise))
    return regularizer


def _folder() -> Path:
    return Path(str(files("equipoise.shipped"))) / "weights"
