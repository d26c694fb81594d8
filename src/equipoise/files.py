"""Files of any content: whatever a decoder raises is one plain error; nothing old is lost."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from equipoise.errors import EquipoiseError, InputError, OutputError

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
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(error).split()))
    text = text.rstrip(".") or type(error).__name__
    return text if len(text) <= SAID else text[:SAID] + " ..."


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Replace a file in one step, through a temporary file in the same folder.

    The temporary file is flushed to the disk before it replaces the old file, and removed if
    anything fails.

    Args:
        path: the file to write; its folder must exist. A symbolic link is written through.
        content: the whole content; text is written in UTF-8.

    Raises:
        OutputError: if the file cannot be written (full disk, no permission, no such folder);
            a file that was there before is untouched.
    """
    target = Path(path).resolve()
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(6)}{target.suffix}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(
            f"Could not write {path}: {error.strerror or error}. Nothing was changed there; "
            "check the folder, its permissions and the free space, and write again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
