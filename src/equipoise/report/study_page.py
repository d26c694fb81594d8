"""The page of a study: one HTML file that opens offline."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from equipoise.compare.records import Array
from equipoise.files import atomic_write
from equipoise.report.markup import details, escape, figure, figures, prose, sentences, table
from equipoise.report.pictures import picture
from equipoise.report.study_figures import draw_case
from equipoise.report.study_overview import overview
from equipoise.report.study_words import HEADS, meaning_of_intervals, row_of
from equipoise.report.tables import mapping_table
from equipoise.study.records import CaseRecord, Picture, StudyRecord

_LEGEND = (
    "Solid: measured, with {intervals}. Dashed: bound from theory"
    " (PROVED holds for every input under hypotheses that were checked; no measured point may lie"
    " {side} it). A red cross: a solve behind the point did not converge; such solves enter no"
    " mean."
)


def write_study_page(study: StudyRecord, path: Path, *, command: str) -> None:
    """Write the page of a study, replacing the file in one step.

    Args:
        study: what was measured.
        path: HTML file to write; its folder must exist.
        command: the command that produces it.

    Raises:
        OutputError: if the file cannot be written.
    """
    atomic_write(path, render_study(study, command=command))


def render_study(study: StudyRecord, *, command: str) -> str:
    """Write the page of a study as one string of HTML."""
    css = files("equipoise.report").joinpath("page.css").read_text(encoding="utf-8")
    title = escape(study.title)
    names = [escape(f"{case.physics}, {case.regularizer}") for case in study.cases]
    intervals = meaning_of_intervals(study.study)
    side = "below" if study.study == "lower-bound" else "above"
    whole = overview(study)
    links = " · ".join(f'<a href="#case-{k}">{name}</a>' for k, name in enumerate(names))
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{css}</style></head><body><main>",
            f"<h1>{title}</h1>",
            '<p class="equation">A<sup>T</sup>(Ax − y) + α R(x) = 0</p>',
            f"<p>{prose(_LEGEND.format(intervals=intervals, side=side))}</p>",
            f"<nav><p>{links}</p></nav>",
            figure(whole.address, whole.alt, whole.caption) if whole is not None else "",
            *(_section(case, f"case-{k}") for k, case in enumerate(study.cases)),
            f"<h2>Settings</h2><pre><code>{escape(command)}</code></pre>",
            '<div class="words">',
            mapping_table("Settings", ("Setting", "Value"), _stated(study.settings)),
            mapping_table("Environment", ("What", "Version"), dict(study.versions)),
            "</div></main></body></html>\n",
        ]
    )


def _section(case: CaseRecord, anchor: str) -> str:
    name = f"{case.physics}, {case.regularizer}"
    alt = f"{name}: " + "; ".join(panel.title for panel in case.panels)
    solves = f"{case.solves - case.unsolved} of {case.solves} solves converged."
    shown = [figure(draw_case(case), alt, solves)] if case.panels else []
    shots = [figure(picture(_scaled(shot)), shot.title, shot.title) for shot in case.pictures]
    rows = [row_of(number) for number in case.numbers]
    return (
        f'<section id="{anchor}"><h2>{escape(name)}</h2><p>{prose(case.description)}</p>'
        + sentences(case.findings)
        + figures(shown)
        + (f'<div class="columns">{"".join(shots)}</div>' if shots else "")
        + details("All numbers", table("All numbers", HEADS, rows))
        + "</section>"
    )


def _scaled(shot: Picture) -> Array:
    width = shot.high - shot.low
    return (shot.values - shot.low) / (width if width > 0 else 1.0)


def _stated(settings: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if value is not None}
