"""Errors and warnings that say what was wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EquipoiseError(Exception):
    """Base class of every error that equipoise raises on purpose."""


class UsageError(EquipoiseError, ValueError):
    """The call asks for something that does not exist or does not fit together."""


class UnknownNameError(UsageError):
    """A name is not among the valid ones; the message offers the nearest.

    Args:
        what: kind of thing that was named, for example ``"regularizer"``.
        name: the name that was given.
        valid: all valid names.
    """

    def __init__(self, what: str, name: str, valid: Iterable[str]) -> None:
        names = sorted(valid)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        super().__init__(f"Unknown {what} '{name}'.{hint} Valid: {', '.join(names)}.")
        self.nearest = near[0] if near else None


class MissingExtraError(UsageError, ImportError):
    """A package is not installed that only an extra of equipoise brings.

    Args:
        what: that is asked for, for example ``"The Hugging Face hub"``.
        extra: that brings the package.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs a package that is missing or too old: pip install 'equipoise[{extra}]'."
        )


class InputError(EquipoiseError, ValueError):
    """Data are unusable: wrong shape, dtype, device, not finite, unreadable file."""


class AdjointError(InputError):
    """The physics' ``A_adjoint`` is not the adjoint of its ``A``."""


class WeightsError(InputError):
    """A weights file is unreadable, truncated, or was not written by equipoise."""


class OutputError(EquipoiseError, OSError):
    """A file could not be written; whatever was there before is untouched."""


class NoPotentialError(UsageError):
    """A potential was asked of a regulariser that is not a gradient field."""


class HypothesisError(UsageError):
    """A method's hypothesis is not met, for example conjugate gradients on a non-symmetric J."""


class ConvergenceError(EquipoiseError, RuntimeError):
    """A solve did not reach its tolerance and the caller asked for an error."""


class OutputWarning(UserWarning):
    """A file could not be written, and the work went on without it."""


class ConvergenceWarning(UserWarning):
    """A solve did not reach its tolerance; the message says which samples and what helps."""
