"""``torch.compile`` for pointwise work, where it is wanted and there is a compiler."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from equipoise.errors import UsageError

#: Environment variable that decides where :func:`use_compiler` was not called: 1 or 0.
VARIABLE = "EQUIPOISE_COMPILE"

T = TypeVar("T")
_wanted: list[bool | None] = [None]


def use_compiler(wanted: bool | None = True) -> None:
    """Say whether pointwise functions of regularisers are compiled by ``torch.compile``.

    Compiling takes some seconds, the first time on a machine up to half a minute; then evaluations
    of ridge regularisers are faster, most where they are weakly convex. Results agree to rounding.

    Args:
        wanted: for all equations and frozen fields that are made from then on; None: as the
            environment variable ``EQUIPOISE_COMPILE`` says (1 or 0), and without it on graphics
            processors only.
    """
    _wanted[0] = wanted


def compiling(device: torch.device) -> bool:
    """Whether functions are to be compiled for tensors on a device.

    Raises:
        UsageError: if the environment variable is neither 1 nor 0.
    """
    if _wanted[0] is not None:
        return _wanted[0]
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "0", "1"):
        raise UsageError(f"The environment variable {VARIABLE} must be 1 or 0, got {asked!r}.")
    return asked == "1" if asked else device.type == "cuda"


class Fused(Generic[T]):
    """A function of tensors that is only ever run compiled; shapes may change from call to call.

    Calls give None, after a warning, from the first time that it fails; torch's limit of kinds of
    arguments for which it compiles (of another dtype, say) counts as that: beyond it, torch would
    go on silently with what is slower than the plain way.

    Args:
        function: what to compile; it must not write on its arguments, the first of which is a
            tensor whose device decides.
    """

    def __init__(self, function: Callable[..., T]) -> None:
        self._function = function
        self._compiled: Callable[..., T] | None = None
        self._broken = False

    def __call__(self, t: torch.Tensor, *arguments: Any) -> T | None:
        """The function's value, or None where it is not compiled."""
        if self._broken:
            return None
        if self._compiled is None:
            self._compiled = torch.compile(self._function, dynamic=True, fullgraph=True)
        try:
            return self._compiled(t, *arguments)
        except Exception as error:  # whatever compilers raise: what is plain goes on
            self._broken = True
            warnings.warn(
                f"torch.compile failed for {self._function.__name__} "
                f"({type(error).__name__}): pointwise work goes on without it.",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
