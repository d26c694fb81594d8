"""Upper-level losses: how far a reconstruction is from the truth."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UnknownNameError

#: ``(reconstruction, truth) -> scalar``.
UpperLoss = Callable[[Tensor, Tensor], Tensor]

#: Error at which the Huber loss turns from quadratic to linear, on the scale of images in [0, 1].
HUBER_DELTA = 0.05


def _mse(x: Tensor, truth: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(x, truth)


def _huber(x: Tensor, truth: Tensor) -> Tensor:
    return F.huber_loss(x, truth, delta=HUBER_DELTA)


def _one_minus_ssim(x: Tensor, truth: Tensor) -> Tensor:
    """With every pixel of a patch, images reflected at its border: patches may be small."""
    # Imported here: it brings matplotlib and scipy, which takes longer than many a solve.
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(x, truth, data_range=1.0)
    assert isinstance(value, Tensor)
    return 1.0 - value


LOSSES: dict[str, UpperLoss] = {
    "mse": _mse,
    "l1": F.l1_loss,
    "huber": _huber,
    "ssim": _one_minus_ssim,
}


def upper_loss(name: str) -> UpperLoss:
    """The loss of that name: half the mean squared error, L1, Huber, or 1 - SSIM.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name not in LOSSES:
        raise UnknownNameError("loss", name, LOSSES)
    return LOSSES[name]
