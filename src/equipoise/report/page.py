"""The page of a comparison: one HTML file that opens offline."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from equipoise.compare.records import Comparison, TaskResult
from equipoise.errors import UsageError
from equipoise.files import atomic_write
from equipoise.report.definitions import DEFINITIONS
from equipoise.report.figures_intervals import draw_gains
from equipoise.report.findings import overall_findings
from equipoise.report.groups import group_runs
from equipoise.report.markup import escape, figure, figures, findings
from equipoise.report.style import Styles, choose_styles
from equipoise.report.tables import mapping_table
from equipoise.report.task_section import task_section
from equipoise.report.words import count, signed, task_noun

TITLE = "Bilevel learning and deep equilibrium models compared"

#: Characters of HTML that all photographs together may use.
_PHOTOGRAPHS = 10_600_000

_INTRODUCTION = (
    "<p>Every method solves the same equation for the image x: data y, operator A, data fidelity"
    " D, strength α. They differ in the field R and in how it was learned. Bilevel learning needs"
    " a gradient field, R = ∇r (a tied pair: K<sup>T</sup>s(Kx + b)); a deep equilibrium model"
    " takes any field (an untied pair: W<sub>2</sub>s(W<sub>1</sub>x + b)).</p>"
)


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the page of a comparison, replacing the file in one step.

    The page holds everything itself: no script, font or picture is fetched.

    Args:
        comparison: what the main job produced, with at least one task.
        path: HTML file to write; its folder must exist.

    Raises:
        UsageError: if the comparison has no task.
        OutputError: if the file cannot be written.
    """
    if not comparison.tasks:
        raise UsageError("The comparison has no task, so there is nothing to report; name one.")
    atomic_write(path, render(comparison))


def render(comparison: Comparison) -> str:
    """Write the page of a comparison as one string of HTML."""
    styles = choose_styles(comparison)
    anchors = [f"task-{number + 1}" for number in range(len(comparison.tasks))]
    budget = _PHOTOGRAPHS // len(comparison.tasks)
    sections = [
        task_section(task, anchor, styles, budget)
        for task, anchor in zip(comparison.tasks, anchors, strict=True)
    ]
    links = "".join(
        f'<a href="#{anchor}">{escape(task_noun(task.task))}</a> · '
        for task, anchor in zip(comparison.tasks, anchors, strict=True)
    )
    css = files("equipoise.report").joinpath("page.css").read_text(encoding="utf-8")
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(TITLE)}</title><style>{css}</style></head><body><main>",
            f"<h1>{escape(TITLE)}</h1>",
            '<p class="equation">∇<sub>x</sub> D(Ax, y) + α R(x) = 0</p>',
            _INTRODUCTION,
            findings(overall_findings(comparison)),
            f'<nav><p>{links}<a href="#definitions">definitions</a> ·'
            ' <a href="#settings">settings</a></p></nav>',
            _overview(comparison.tasks, styles),
            *sections,
            DEFINITIONS,
            _settings(comparison),
            "</main></body></html>\n",
        ]
    )


def _overview(tasks: list[TaskResult], styles: Styles) -> str:
    items = []
    for task in tasks:
        groups = [group for group in group_runs(task) if group.photographs]
        if not groups:
            continue
        noun = task_noun(task.task)
        gains = ", ".join(f"{g.label} {signed(float(np.mean(g.gain())))} dB" for g in groups)
        alt = f"PSNR gain over the degraded input, {noun}: {gains}"
        caption = f"PSNR gain over the degraded input: {noun}."
        items.append(figure(draw_gains(noun, groups, styles), alt, caption))
    if not items:
        return ""
    note = (
        "<p>Filled marker: mean over the test photographs; bar: its 95 % bootstrap interval; open"
        " dots: the photographs. The axes do not start at 0. The intervals of two methods may"
        " overlap although one is better on every photograph; the paired differences below"
        " settle that.</p>"
    )
    return "<h2>Overview</h2>" + figures(items) + note


def _settings(comparison: Comparison) -> str:
    return (
        '<section id="settings"><h2>Settings and environment</h2>'
        f"<p>The command that produces this page ({count(comparison.seconds)} s in all):</p>"
        f"<pre><code>{escape(comparison.command)}</code></pre>"
        + '<div class="words">'
        + mapping_table("Settings", ("Setting", "Value"), comparison.settings)
        + mapping_table("Environment", ("What", "Version or name"), comparison.environment)
        + "</div></section>"
    )
