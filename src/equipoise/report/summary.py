"""Write ``summary.json``: every number of a comparison, for programs."""

from __future__ import annotations

import json
import math
from pathlib import Path

from equipoise.compare.records import Comparison
from equipoise.files import atomic_write


def write_summary(comparison: Comparison, path: Path) -> None:
    """Write the numbers of a comparison as strict JSON, replacing the file in one step.

    Keys: ``settings``, ``environment``, ``command``, ``seconds`` and the list ``runs``, each a
    :class:`~equipoise.compare.records.RunSummary`. JSON knows neither NaN nor infinity; such
    numbers (an interval over one photograph, say) are written as ``null``.

    Args:
        comparison: what the main job produced.
        path: file to write; its folder must exist.

    Raises:
        OutputError: if the file cannot be written.
    """
    content = {
        "settings": comparison.settings,
        "environment": comparison.environment,
        "command": comparison.command,
        "seconds": comparison.seconds,
        "runs": [run.summary.model_dump() for task in comparison.tasks for run in task.runs],
    }
    write_json(content, path)


def write_json(content: object, path: Path) -> None:
    """Write strict JSON, replacing the file in one step; numbers JSON lacks become ``null``.

    Args:
        content: dictionaries, lists, texts and numbers.
        path: file to write; its folder must exist.

    Raises:
        OutputError: if the file cannot be written.
    """
    text = json_text(content) + "\n"
    atomic_write(path, lambda temporary: _write(temporary, text))


def json_text(content: object) -> str:
    """Strict JSON of dictionaries, lists, texts and numbers; NaN and infinity become ``null``."""
    return json.dumps(_strict(content), indent=2, ensure_ascii=False, allow_nan=False)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _strict(value: object) -> object:
    """Replace numbers that JSON does not know by None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value
