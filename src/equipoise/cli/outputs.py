"""Where results go: tried before the work, held by one run, never lost where they cannot be put."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import typer

from equipoise.errors import OutputError, UsageError
from equipoise.files import make_folder, remove_abandoned, require_writable

#: Seconds in which a run that only tidies up lets go of a lock.
_PATIENCE = 0.5


@contextlib.contextmanager
def reserved(
    files: Iterable[Path],
    *,
    held: Iterable[Path] = (),
    beside: Iterable[Path] = (),
    folder: Path | None = None,
    overwrite: bool,
    advice: str = "",
) -> Iterator[None]:
    """Hold outputs for this run: they can be written, no other run writes them, none is there.

    What killed runs left behind (temporary files, locks) is removed.

    Args:
        files: every file that will be written.
        held: those that stand for the run; a lock lies next to each as long as the run goes.
        beside: files that are written and may be there.
        folder: what is held in their place where the outputs are a folder.
        overwrite: whether files that are there are replaced.
        advice: what else can be done about files that are there, a sentence.

    Raises:
        OutputError: if one cannot be written, or another run writes there.
        UsageError: if one is there and is not to be replaced.
    """
    files, beside = list(files), list(beside)
    places = [] if folder is None else [folder.resolve() / ".equipoise.lock"]
    places += [lock_of(file) for file in held]
    require_writable([*files, *beside, *places])
    with contextlib.ExitStack() as locks:
        ended = [owner for place in places if (owner := locks.enter_context(_locked(place)))]
        for owner in dict.fromkeys(ended):
            typer.echo(f"Note: a run before this one did not finish ({owner}).", err=True)
        for place in dict.fromkeys(file.resolve().parent for file in (*files, *beside)):
            remove_abandoned(place)
            _remove_abandoned_locks(place, besides=places)
        _refuse_existing(files, overwrite, advice)
        yield


class Rescue:
    """Writes results; those that cannot be written where they belong are kept elsewhere."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._kept: list[str] = []

    def write(self, path: Path, write: Callable[[Path], object]) -> bool:
        """Write one file; its folder is made again if it has gone.

        Args:
            path: where to.
            write: writes to the path that it is given.

        Returns:
            Whether the file is where it belongs.

        Raises:
            OutputError: if it can be written nowhere.
        """
        try:
            make_folder(path.parent)
            write(path)
            return True
        except OSError as error:  # OutputError is one of them
            reason = " ".join(map(str, error.args))
        for parent in (tempfile.gettempdir(), "."):
            try:
                if self._folder is None:
                    self._folder = Path(tempfile.mkdtemp(prefix="equipoise-", dir=parent))
                write(self._folder / path.name)
            except OSError:
                self._folder = None
                continue
            self._kept.append(f"{reason} It is kept as {self._folder / path.name}.")
            return False
        raise OutputError(f"{reason} It could not be kept elsewhere either.")

    def finish(self) -> None:
        """Say what is not where it belongs.

        Raises:
            OutputError: if there is anything.
        """
        if self._kept:
            raise OutputError(" ".join(self._kept))


def lock_of(path: Path) -> Path:
    """The file that says that a run writes ``path``."""
    target = path.resolve()
    name = hashlib.sha256(target.name.encode()).hexdigest()[:16]  # the name's own may be too long
    return target.with_name(f".equipoise-{name}.lock")


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[str]:
    """Hold a lock; gives who held it and died, or an empty text.

    The lock names process, start and host; that of a process that has died is taken over, on
    another host nobody can tell.

    Raises:
        OutputError: if another run holds it.
    """
    from filelock import SoftFileLock, Timeout

    lock = SoftFileLock(place, timeout=_PATIENCE, poll_interval=0.05)
    before = _owner(place)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:  # its owner lives, and may only be tidying up
            before = ""
            lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"Another run writes here ({_owner(place) or 'just ending'}{_since(place)}): wait for "
            f"it, or choose another --out. If that run is gone, delete {place}."
        ) from error
    try:
        yield before
    finally:
        with contextlib.suppress(OSError):  # the next run takes over what cannot be removed
            lock.release()


def _owner(place: Path) -> str:
    """Who holds a lock, for readers; empty if nobody does."""
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    process, host = (*lines, "unknown", "unknown")[:2]
    return f"process {process} on {host}"


def _since(place: Path) -> str:
    try:
        since = datetime.fromtimestamp(place.stat().st_mtime).astimezone()
    except OSError:
        return ""
    return f", since {since:%Y-%m-%d %H:%M:%S}"


def _remove_abandoned_locks(folder: Path, besides: list[Path]) -> None:
    """Remove locks of runs that died and whose outputs nobody asks for now."""
    from filelock import SoftFileLock, Timeout

    for place in folder.glob(".equipoise*.lock"):
        if place not in besides:
            with contextlib.suppress(Timeout, OSError), SoftFileLock(place, timeout=0):
                pass


def _refuse_existing(paths: Iterable[Path], overwrite: bool, advice: str) -> None:
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        raise UsageError(
            f"Already there: {', '.join(there)}. Use --overwrite to replace, or another --out."
            + (f" {advice}" if advice else "")
        )
