"""Trained weights by name: those that ship, a folder's, those on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from equipoise.errors import UnknownNameError, UsageError, WeightsError
from equipoise.regularizers import Regularizer, Scaled, load_regularizer
from equipoise.shipped.card import Card, card_of
from equipoise.shipped.default import DEFAULT
from equipoise.shipped.download import FILE, downloaded
from equipoise.tensor_files import SUFFIX

#: How repositories of the hub are called, unless it is a weights file that is missing.
_REPOSITORY = re.compile(rf"\w[\w.-]*/\w[\w.-]*(?<!\{SUFFIX})", re.ASCII)
#: What no name has, but a path.
_A_PATH = re.compile(rf"[/\\]|\{SUFFIX}$")


def names() -> list[str]:
    """The names of the weights that ship, in alphabetical order."""
    return sorted(path.name.removesuffix(SUFFIX) for path in _folder().glob(f"*{SUFFIX}"))


def weights_file(name: str | Path, **hub: Any) -> Path:
    """The file of trained weights.

    Args:
        name: of weights that ship; else a folder that holds ``model.safetensors``, or the file;
            else ``"owner/name"`` on the Hugging Face hub.
        hub: options of ``huggingface_hub.hf_hub_download``.

    Raises:
        UnknownNameError: if it is none of these; the message offers the nearest that ships.
        WeightsError: if there is no such folder or file, nothing of ours in it, or the hub does not
            give it.
        MissingExtraError: if it is on the hub and ``equipoise[hub]`` is not installed.
    """
    if name in names():
        return _folder() / f"{name}{SUFFIX}"
    if os.path.isdir(name):
        return _weights_in(Path(name))
    if os.path.isfile(name):
        return Path(name)
    if isinstance(name, str) and _REPOSITORY.fullmatch(name):
        return downloaded(name, **hub)
    if isinstance(name, Path) or _A_PATH.search(name):
        raise WeightsError(f"There is no file or folder '{name}'.")
    raise UnknownNameError("pretrained regularizer", name, names())


def shipped(name: str | Path, device: str | torch.device = "cpu") -> tuple[Scaled, Card]:
    """Weights that ship, or others with a card, and what is said of them.

    Args:
        name: one of :func:`names`, or as in :func:`weights_file`.
        device: where the regulariser is to be.

    Raises:
        UnknownNameError: if there are none of that name.
        WeightsError: if the file is damaged, or has no card.
    """
    path = weights_file(name)
    regularizer, record = load_regularizer(path, device)
    card = card_of(record)
    if card is None or not isinstance(regularizer, Scaled):
        raise WeightsError(
            f"'{path}' has no card, which says what weights reach: load it by load_regularizer, or "
            "give it as --weights."
        )
    return regularizer, card


def pretrained(
    name: str | Path = DEFAULT, noise: float | None = None, device: str | torch.device = "cpu"
) -> Regularizer:
    """A trained regulariser: one that ships, one of a folder, or one of the Hugging Face hub.

    For denoising ``EquilibriumReconstructor(pretrained("wcrr-gray", noise=sigma))`` is the model;
    for other physics choose alpha, too.

    Args:
        name: one of ``equipoise models list``; a folder that :class:`equipoise.hub.HubModel` wrote,
            or a weights file; or ``"owner/name"`` of a repository on the hub, which is downloaded
            once and needs ``pip install 'equipoise[hub]'``. The first of these that exists is
            taken; no code of others is run.
        noise: standard deviation of the noise that it is to be right for, of images in [0, 1];
            None: R as it was saved.
        device: where it is to be.

    Returns:
        R, a deepinv prior, in the dtype that it was saved in: float32 for what ships.

    Raises:
        UnknownNameError: if there is none of that name; the message offers the nearest.
        UsageError: if the noise is not positive, or the weights do not say what noise changes.
        WeightsError: if the file is missing, damaged or of others, or the hub does not give it.
        MissingExtraError: if it is on the hub and the extra is not installed.
    """
    path = weights_file(name)
    regularizer, record = load_regularizer(path, device)
    if noise is not None:
        if isinstance(noise, bool):
            raise UsageError(f"The standard deviation of noise is a number, got {noise}.")
        card = card_of(record)
        if card is None or not isinstance(regularizer, Scaled):
            raise UsageError(
                f"'{path}' has no card with a strength for each noise: leave out the noise, and "
                "choose alpha."
            )
        regularizer.set_scales(*card.scales(noise))
    return regularizer


def _weights_in(folder: Path) -> Path:
    if not (folder / FILE).is_file():
        raise WeightsError(
            f"The folder '{folder}' holds no {FILE}: name the weights file itself, or write the "
            "folder by equipoise.hub.HubModel."
        )
    return folder / FILE


def _folder() -> Path:
    return Path(str(files("equipoise.shipped"))) / "weights"
