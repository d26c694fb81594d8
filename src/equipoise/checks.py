"""Arguments that are refused in the same words everywhere."""

from __future__ import annotations

import math
from numbers import Integral, Real

from torch import Tensor

from equipoise.errors import EquipoiseError, InputError


def require_positive(name: str, value: object, error: type[EquipoiseError] = InputError) -> None:
    """Refuse what is not a positive finite number.

    Raises:
        InputError: or ``error``, naming the argument.
    """
    if not (isinstance(value, Real) and 0 < float(value) < math.inf):
        raise error(f"{name} must be a positive finite number, got {value}.")


def require_not_negative(
    name: str, value: object, error: type[EquipoiseError] = InputError
) -> None:
    """Refuse what is not a finite number of at least 0.

    Raises:
        InputError: or ``error``, naming the argument.
    """
    if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
        raise error(f"{name} must be a finite number and not negative, got {value}.")


def require_count(
    name: str, value: object, least: int = 1, error: type[EquipoiseError] = InputError
) -> None:
    """Refuse what is not a whole number of at least ``least``.

    Raises:
        InputError: or ``error``, naming the argument.
    """
    if not (isinstance(value, Integral) and int(value) >= least):
        raise error(f"{name} must be a whole number and at least {least}, got {value}.")


def require_like(name: str, x: object, like: Tensor, what: str) -> None:
    """Refuse a tensor of another shape, dtype or device than the one it belongs to.

    Raises:
        InputError: naming the argument and ``what`` it has to match.
    """
    if not isinstance(x, Tensor):
        raise InputError(f"{name} must be a tensor, got {type(x).__name__}.")
    if x.shape != like.shape:
        raise InputError(
            f"{name} has shape {tuple(x.shape)}, but {what} {tuple(like.shape)}: they must agree."
        )
    if x.dtype != like.dtype or x.device != like.device:
        raise InputError(
            f"{name} is {x.dtype} on {x.device}, but {what} {like.dtype} on {like.device}: use "
            f"{name}.to({like.dtype}) and {name}.to('{like.device}')."
        )
