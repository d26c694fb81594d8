"""Write ``summary.json``: every number of a comparison, for programs."""

from __future__ import annotations

from pathlib import Path

from equipoise.compare.records import Comparison
from equipoise.strict_json import write_json


def write_summary(comparison: Comparison, path: Path) -> None:
    """Write the numbers of a comparison as strict JSON, replacing the file in one step.

    Keys: ``settings``, ``environment``, ``command``, ``run`` (which run wrote it), ``seconds`` and
    the list ``runs``, each a :class:`~equipoise.compare.records.RunSummary`. NaN (an interval over
    one photograph, say) is written as ``null``, an infinite number as the text ``inf`` or ``-inf``.

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
        "run": comparison.run,
        "seconds": comparison.seconds,
        "runs": [run.summary.model_dump() for task in comparison.tasks for run in task.runs],
    }
    write_json(content, path)
