"""Write files so that nothing is lost: the old one stays until the new one is complete."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from equipoise.errors import OutputError


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
