"""Where results go: folders that exist, files that are never overwritten by accident."""

from __future__ import annotations

from pathlib import Path

from equipoise.errors import OutputError, UsageError


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: if that is impossible, before any work has been done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"Cannot make the folder '{folder}': {error.strerror or error}. Choose another --out."
        ) from error


def refuse_existing(paths: list[Path], overwrite: bool) -> None:
    """Refuse to replace files unless the user asked for it.

    Raises:
        UsageError: naming the files.
    """
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        raise UsageError(
            f"Already there: {', '.join(there)}. Use --overwrite to replace, or another --out."
        )
