"""What computed a result: versions, hardware, and which run."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Libraries that numbers depend on.
LIBRARIES = ("deepinv", "torch", "numpy", "scikit-image", "safetensors")


def version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


__version__ = version("equipoise") or "0+unknown"  # a source tree that is not installed


def versions() -> dict[str, str]:
    """Versions of equipoise, of Python and of the libraries that numbers depend on."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    return {"equipoise": __version__, **found, "python": platform.python_version()}


def environment(device: torch.device) -> dict[str, str]:
    """The versions, the system, the device that computed, and the number of threads."""
    import torch  # here, because the program's version is asked for without it

    from equipoise.threads import threads_in_words

    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        **versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": hardware,
        "threads": threads_in_words(),
    }


_RUN: ContextVar[str] = ContextVar("run")


@contextmanager
def new_run() -> Iterator[str]:
    """Begin a run: every file that is written within says that it is of this one."""
    token = _RUN.set(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}")
    try:
        yield _RUN.get()
    finally:
        _RUN.reset(token)


def run_id() -> str:
    """Which run this is: when it began (UTC) and a random part; empty outside of one."""
    return _RUN.get("")
