"""Whether measurements fit the physics that is said to have made them."""

from __future__ import annotations

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.adjointness import Checked, checked
from equipoise.errors import InputError


def check_measurements(physics: LinearPhysics, y: Tensor) -> tuple[Tensor, Checked]:
    """Refuse measurements that are not finite or do not fit the physics.

    Returns:
        ``A^T y`` without a graph, and the physics, its adjoint checked.

    Raises:
        InputError: saying what is wrong and what to do.
    """
    if not isinstance(y, Tensor) or not (y.is_floating_point() or y.is_complex()):
        raise InputError("y must be a floating-point tensor, for example y.float().")
    if y.dim() < 2 or len(y) == 0:
        raise InputError(
            f"y must have a batch axis of at least one sample first, got shape {tuple(y.shape)}."
        )
    for tensor in (*physics.buffers(), *physics.parameters()):
        if tensor.device != y.device:
            raise InputError(
                f"The physics is on {tensor.device} but y is on {y.device}: "
                f"use physics.to('{y.device}')."
            )
    bad = ~torch.isfinite(y.detach())
    if bool(bad.any()):
        raise InputError(
            f"y has {int(bad.sum())} values that are NaN or infinite; mend or mask them first."
        )
    try:
        with torch.no_grad():
            image = physics.A_adjoint(y.detach())
        _check_image(image, y)
        known = checked(physics, image)
    except InputError:
        raise
    except Exception as error:  # an operator may raise anything
        _check_number(physics, y)
        raise InputError(
            f"The physics does not accept measurements of shape {tuple(y.shape)} and dtype "
            f"{y.dtype}; build it for this size and dtype. It says: {error}"
        ) from error
    again = known.pairs.measured
    if again.shape[1:] != y.shape[1:]:
        raise InputError(
            f"Measurements have shape {tuple(y.shape[1:])} per sample, the physics produces "
            f"{tuple(again.shape[1:])}: build it for this size."
        )
    if again.dtype != y.dtype:
        raise InputError(
            f"The physics turns {y.dtype} into {again.dtype}: build it in {y.dtype} "
            "(a deepinv physics takes the dtype of its mask or filter)."
        )
    return image, known


def _check_image(image: Tensor, y: Tensor) -> None:
    if len(image) == 1 < len(y):
        raise InputError(
            f"A_adjoint makes one image of measurements of shape {tuple(y.shape)}: the first axis "
            "of y must count samples, each of which A and A_adjoint treat by itself."
        )
    if len(image) != len(y):
        raise InputError(
            f"The physics holds one operator for each of {len(image)} samples, but y has {len(y)}: "
            "give it one mask or filter for all, or one per sample."
        )
    if image.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"Images must be float32 or float64, but A_adjoint gives {image.dtype}: convert y, and "
            "hold complex images as two channels, as deepinv's MRI does."
        )
    if image.device != y.device:
        raise InputError(
            f"A_adjoint gives images on {image.device}, but y is on {y.device}: "
            "what the physics holds in plain attributes has to be moved by hand."
        )


def _check_number(physics: LinearPhysics, y: Tensor) -> None:
    """Refuse measurements of a number of samples for which one measurement makes another."""
    try:
        with torch.no_grad():
            image = physics.A_adjoint(y.detach()[:1])
    except Exception:  # then something else is wrong
        return
    if len(image) not in (1, len(y)):
        _check_image(image, y)
