"""Reconstructions side by side: the picture, an enlarged crop, and the error, per method."""

from __future__ import annotations

from equipoise.compare.records import Array, TaskResult
from equipoise.report.figures.pictures import error_limit
from equipoise.report.groups import Group
from equipoise.report.templating import render
from equipoise.report.words import number

#: Most photographs of one task that are shown.
SHOWN = 4


def gallery(
    task: TaskResult, groups: list[Group], budget: int
) -> tuple[list[tuple[str, str]], float]:
    """Show the photographs of one task, as many as fit into a budget of characters.

    Args:
        task: truths, inputs and reconstructions.
        groups: its methods; the first seed of each is shown.
        budget: characters of HTML that may be used; the first photograph is always shown.

    Returns:
        Name and markup of each, and the error that is drawn black.
    """
    blocks: list[tuple[str, str]] = []
    names = list(task.truths)[:SHOWN]
    limit = error_limit(task, names)
    for name in names:
        columns = _columns(task, groups, name)
        truth = task.truths[name]
        block = render("photograph.html", name=name, truth=truth, columns=columns, limit=limit)
        budget -= len(block)
        if blocks and budget < 0:
            break
        blocks.append((name, block))
    return blocks, limit


def _columns(task: TaskResult, groups: list[Group], name: str) -> list[tuple[str, Array, str]]:
    """What each column is called, its image, and the figure that stands under it."""
    columns = []
    scores = [{s.name: s for s in group.summary.images}.get(name) for group in groups]
    known = [score for score in scores if score is not None]
    if name in task.inputs:
        note = f"{number(known[0].psnr_input)} dB" if known else "degraded"
        columns.append(("Degraded input", task.inputs[name], note))
    for group, score in zip(groups, scores, strict=True):
        if name in group.runs[0].reconstructions:
            note = "not scored" if score is None else f"{number(score.psnr)} dB"
            columns.append((group.label, group.runs[0].reconstructions[name], note))
    return columns
