"""Strict JSON, which knows neither NaN nor infinity: what stands for them in every file of ours."""

from __future__ import annotations

import json
import math
from pathlib import Path

from equipoise.files import atomic_write


def jsonable(content: object) -> object:
    """The same content without numbers that JSON lacks, at any depth.

    NaN, which stands where nothing was measured, becomes None; infinite numbers become the texts
    ``inf`` and ``-inf``, which ``float`` reads back. Tuples become lists.

    Args:
        content: dictionaries, lists, tuples, texts, numbers, None.
    """
    if isinstance(content, dict):
        return {str(key): jsonable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [jsonable(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else str(float(content))
    return content


def json_text(content: object) -> str:
    """Strict JSON of what :func:`jsonable` takes, indented."""
    return json.dumps(jsonable(content), indent=2, ensure_ascii=False, allow_nan=False)


def write_json(content: object, path: Path) -> None:
    """Write strict JSON, replacing the file in one step.

    Args:
        content: what :func:`jsonable` takes.
        path: file to write; its folder must exist.

    Raises:
        OutputError: if the file cannot be written.
    """
    atomic_write(path, json_text(content) + "\n")
