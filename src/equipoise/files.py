"""Write files so that nothing is lost: the old one stays until the new one is complete."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from equipoise.errors import OutputError

#: Name of a temporary file: on which host, by which process, and which of its own.
_PART = re.compile(r"\.equipoise-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{12}\.part")


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Replace a file in one step, through a temporary file in the same folder.

    The temporary file is flushed to the disk before it replaces the old file, and removed if
    anything fails; if the process is killed, :func:`remove_abandoned` knows it by its name.

    Args:
        path: the file to write; its folder must exist. A symbolic link is written through.
        content: the whole content; text is written in UTF-8.

    Raises:
        OutputError: if the file cannot be written (full disk, no permission, no such folder, a
            folder or device of that name); a file that was there before is untouched.
    """
    try:
        target = _resolved(path)
        _put(target.parent, content.encode() if isinstance(content, str) else content, target)
    except OSError as error:
        raise OutputError(
            f"Could not write {path}: {error.strerror or error}. Nothing was changed there; "
            "check the folder, its permissions and the free space, and write again."
        ) from error


def require_writable(paths: Iterable[str | Path]) -> None:
    """Find out whether files can be written, by a small file in each folder, which is removed.

    Folders that are missing are made. Existing files are not touched.

    Args:
        paths: the files.

    Raises:
        OutputError: naming the first that cannot be written, and why.
    """
    tried: set[Path] = set()
    for path in paths:
        try:
            folder = _resolved(path).parent
            if folder not in tried:
                make_folder(folder)
                _put(folder, b"\n" * 4096)
                tried.add(folder)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"Cannot write '{path}': {error.strerror or error}. Choose another --out, or make "
                "room for it there."
            ) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: if that is impossible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"Cannot make the folder '{folder}': {error.strerror or error}. Choose another --out."
        ) from error


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files that killed processes of this host left in a folder."""
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            found = _PART.fullmatch(file.name)
            if found is not None and found[1] == _host() and not _lives(int(found[2])):
                file.unlink(missing_ok=True)


def _resolved(path: str | Path) -> Path:
    """The file that is meant, if it is one or can become one."""
    target = Path(os.path.realpath(path))  # Path.resolve fails for links in a circle
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory")
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    return target


def _put(folder: Path, content: bytes, target: Path | None = None) -> None:
    """Write a temporary file and give it the target's name, or remove it again."""
    name = f".equipoise-{_host()}-{os.getpid()}-{secrets.token_hex(6)}.part"
    temporary = folder / name
    try:
        temporary.write_bytes(content)
        _flush(temporary)
        if target is not None:
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@functools.cache
def _host() -> str:
    """What process numbers are unique in: this host, in a container its own processes."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    """Whether there is a process of that number; where it cannot be known, yes."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
