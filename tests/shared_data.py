"""Where real images are, for tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """A file or folder of the shared test images; skip the test where it is absent."""
    base = Path(os.environ.get("EQUIPOISE_DATA", ROOT.parent / "shared" / "data"))
    if not (base / name).exists():
        pytest.skip(f"needs {name} of the shared test images (EQUIPOISE_DATA)")
    return base / name
