"""Whatever a decoder raises on damaged or hostile files, as one plain error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from equipoise.errors import EquipoiseError, InputError

#: Most characters of what a decoder says that are repeated.
SAID = 300


@contextlib.contextmanager
def decoding(
    file: str | Path,
    what: str,
    error: type[EquipoiseError] = InputError,
    remedy: str = "copy or save it again",
) -> Iterator[None]:
    """Read what others may have written: every exception in the block becomes a plain error.

    Decoders raise anything on damaged files (``KeyError``, ``RecursionError``, ``MemoryError``), so
    nothing is listed here; errors of our own pass as they are.

    Args:
        file: what is read.
        what: its kind, for example ``"image file"``.
        error: kind of error to raise.
        remedy: what to do, to follow the reason.

    Raises:
        EquipoiseError: of that kind, with file and reason.
    """
    try:
        yield
    except EquipoiseError:
        raise
    except Exception as caught:
        raise error(
            f"The {what} '{file}' cannot be read (truncated, damaged or unusual): "
            f"{said(caught)}; {remedy}."
        ) from caught


def said(error: Exception) -> str:
    """What an exception says, in one short printable piece."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # PyTorch's words
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(error).split()))
    text = text.rstrip(".") or type(error).__name__
    return text if len(text) <= SAID else text[:SAID] + " ..."
