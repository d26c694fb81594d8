"""Reconstructions side by side: the picture, an enlarged crop, and the error, per method."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.compare.records import Array, TaskResult
from equipoise.report.groups import Group
from equipoise.report.markup import details, escape, image
from equipoise.report.pictures import (
    centre_window,
    detail_window,
    error_limit,
    error_map,
    picture,
)
from equipoise.report.words import number, photographs, significant

#: Most photographs of one task that are shown.
SHOWN = 4


@dataclass(frozen=True)
class _Column:
    """One column: what it is called, its image, and the figure that stands under it."""

    title: str
    image: Array
    note: str


def gallery(task: TaskResult, groups: list[Group], budget: int) -> str:
    """Show the photographs of one task, as many as fit into a budget of characters.

    Args:
        task: truths, inputs and reconstructions.
        groups: its methods; the first seed of each is shown.
        budget: characters of HTML that may be used; the first photograph is always shown.
    """
    names = list(task.truths)[:SHOWN]
    if not names:
        return ""
    limit = error_limit(task, names)
    blocks: list[str] = []
    for name in names:
        block = _photograph(task, groups, name, limit)
        if blocks and sum(map(len, blocks)) + len(block) > budget:
            break
        blocks.append(block)
    intro = (
        f"<p>Shown: {len(blocks)} of {photographs(len(task.truths))}. All pictures share one"
        " scale, 0 black to 1 white (clipped for display only). All error maps"
        f" |reconstruction − truth| of this task share one scale: white 0, black"
        f" {escape(significant(limit))} or more.</p>"
        f'<p class="scale" role="img" aria-label="Error scale from 0 (white) to'
        f' {escape(significant(limit))} (black)"><span>0</span><i></i>'
        f"<span>{escape(significant(limit))}</span></p>"
        "<p>Enlarged: the crop in which the truth has most detail, framed in the truth.</p>"
    )
    opened = f"<h4>{escape(names[0])}</h4>{blocks[0]}"
    folded = (details(name, block) for name, block in zip(names[1:], blocks[1:], strict=False))
    return intro + opened + "".join(folded)


def _photograph(task: TaskResult, groups: list[Group], name: str, limit: float) -> str:
    truth = task.truths[name]
    window = centre_window(truth)
    truth = window.of(truth)
    crop = detail_window(truth)
    height, width = truth.shape[:2]
    frame = (
        f'<b class="frame" style="left:{100 * crop.left / width:.2f}%;'
        f"top:{100 * crop.top / height:.2f}%;width:{100 * crop.width / width:.2f}%;"
        f'height:{100 * crop.height / height:.2f}%"></b>'
    )
    columns = [
        '<figure class="column"><span class="framed">'
        + image(picture(truth), f"{name}: truth")
        + frame
        + "</span>"
        + _enlarged(crop.of(truth), f"{name}: truth, enlarged crop")
        + "<figcaption>Truth</figcaption></figure>"
    ]
    for column in _columns(task, groups, name):
        shown = window.of(column.image)
        columns.append(
            '<figure class="column">'
            + image(picture(shown), f"{name}: {column.title}, {column.note}")
            + _enlarged(crop.of(shown), f"{name}: {column.title}, enlarged crop")
            + image(error_map(shown, truth, limit), f"{name}: {column.title}, absolute error map")
            + f"<figcaption>{escape(column.title)}<br>{escape(column.note)}</figcaption></figure>"
        )
    return f'<div class="columns">{"".join(columns)}</div>'


def _columns(task: TaskResult, groups: list[Group], name: str) -> list[_Column]:
    columns = []
    scores = {g.key: {s.name: s for s in g.summary.images}.get(name) for g in groups}
    known = [score for score in scores.values() if score is not None]
    if name in task.inputs:
        note = f"{number(known[0].psnr_input)} dB" if known else "degraded"
        columns.append(_Column("Degraded input", task.inputs[name], note))
    for group in groups:
        score = scores[group.key]
        if name in group.runs[0].reconstructions:
            note = "not scored" if score is None else f"{number(score.psnr)} dB"
            columns.append(_Column(group.label, group.runs[0].reconstructions[name], note))
    return columns


def _enlarged(crop: Array, alt: str) -> str:
    return f'<span class="enlarged">{image(picture(crop), alt)}</span>'
