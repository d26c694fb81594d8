"""The page of a certificate: one HTML file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from equipoise.certify.statement import Certificate, Section, Statement
from equipoise.compare.records import Array
from equipoise.files import atomic_write
from equipoise.report.certificate_figures import error_figure, lipschitz_figure, steps_figure
from equipoise.report.certificate_words import LEGEND, NOT_MET, quantity, remedies, standing
from equipoise.report.markup import escape, figures, prose, sentences
from equipoise.report.pictures import centre_window, picture
from equipoise.report.words import MISSING

TITLE = "What can be certified"

_INTRODUCTION = (
    "<p>The reconstruction is the zero x of this equation: data y, operator A, data fidelity D,"
    " strength α, regularisation operator R, which need not be a gradient. The statements below"
    " concern exactly the R, A and α named here. They say nothing of whether the"
    " reconstruction shows what was there, except where a bound of the error is given.</p>"
)


@dataclass(frozen=True)
class Example:
    """The photograph that a certificate was made with.

    Args:
        name: what the reader calls it.
        truth: array (H, W) or (H, W, 3), values in [0, 1].
        degraded: what the method starts from, same shape.
        reconstruction: same shape.
        error: ``||x - truth||``, as measured.
        notes: plain sentences: PSNR, residual, status, and what was made of the options.
    """

    name: str
    truth: Array
    degraded: Array
    reconstruction: Array
    error: float
    notes: tuple[str, ...]


def write_certificate(
    certificate: Certificate, path: Path, *, command: str, example: Example
) -> None:
    """Write the page of a certificate, replacing the file in one step.

    Args:
        certificate: what is known of one equation.
        path: HTML file to write; its folder must exist.
        command: the command that produces it.
        example: the photograph that it was made with.

    Raises:
        OutputError: if the file cannot be written.
    """
    atomic_write(path, render_certificate(certificate, command=command, example=example))


def render_certificate(certificate: Certificate, *, command: str, example: Example) -> str:
    """Write the page of a certificate as one string of HTML."""
    style = "".join(
        files("equipoise.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.css", "certificate.css")
    )
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(TITLE)}</title><style>{style}</style></head><body><main>",
            f"<h1>{escape(TITLE)}</h1>",
            '<p class="equation">∇<sub>x</sub> D(Ax, y) + α R(x) = 0</p>',
            f"<p><b>{prose(certificate.subject)}</b></p>",
            _INTRODUCTION,
            _counts(certificate),
            _failures(certificate),
            _figures(certificate, example),
            *(_section(section, remedies(certificate)) for section in certificate.sections),
            _example(example),
            f"<h2>Command</h2><pre><code>{escape(command)}</code></pre>",
            "</main></body></html>\n",
        ]
    )


def _counts(certificate: Certificate) -> str:
    marks = [standing(statement) for statement in certificate]
    found = ", ".join(
        f"{marks.count(mark)} {mark}" for mark in ("PROVED", "ESTIMATED", NOT_MET) if mark in marks
    )
    return f'<p class="counts"><b>{escape(found)}.</b> {prose(LEGEND)}</p>'


def _failures(certificate: Certificate) -> str:
    """What fails and what would mend it, each advice once, before everything else."""
    titles = [statement.title for statement in certificate if not statement.holds]
    if not titles:
        return ""
    items = "".join(
        f'<li id="remedy-{number}">{prose(advice)}</li>'
        for number, advice in enumerate(remedies(certificate), 1)
    )
    mend = f"<p>What would mend it:</p><ol>{items}</ol>" if items else ""
    lead = "<p>No number is given where a hypothesis fails:</p>"
    return f"<h2>What is not met</h2>{lead}{sentences(titles)}{mend}"


def _figures(certificate: Certificate, example: Example) -> str:
    items: Sequence[str | None] = (
        lipschitz_figure(certificate),
        error_figure(certificate, example.error, example.truth.size),
        steps_figure(certificate),
    )
    shown = [item for item in items if item is not None]
    return "<h2>At a glance</h2>" + figures(shown) if shown else ""


def _section(section: Section, advice: list[str]) -> str:
    parts = (_statement(statement, advice) for statement in section.statements)
    return f"<h2>{escape(section.title)}</h2>" + "".join(parts)


def _statement(statement: Statement, advice: list[str]) -> str:
    mark = standing(statement)
    kind = {"PROVED": "proved", "ESTIMATED": "estimated"}.get(mark, "failing")
    number = "" if statement.value is None else f'<p class="value">{quantity(statement.value)}</p>'
    mend = ""
    if not statement.holds and statement.advice:
        place = advice.index(statement.advice) + 1
        mend = f'<p class="advice">What would mend it: <a href="#remedy-{place}">{place}</a>.</p>'
    return (
        f'<div class="statement {kind}" id="{escape(statement.name)}">'
        f'<div><p class="claim">{prose(statement.title)}<span class="mark">{mark}</span></p>'
        f"{number}</div>"
        f"<div><p>{prose(statement.words)}</p>{mend}"
        f'<p class="small">Assumes: {prose(statement.assumes or MISSING)}. '
        f"Source: {prose(statement.source)}.</p></div></div>"
    )


def _example(example: Example) -> str:
    window = centre_window(example.truth)
    columns = "".join(
        f'<figure class="column"><img src="{picture(window.of(image))}" alt="'
        f'{escape(f"{example.name}: {what}")}"><figcaption>{escape(what)}</figcaption></figure>'
        for what, image in (
            ("truth", example.truth),
            ("starting point", example.degraded),
            ("reconstruction", example.reconstruction),
        )
    )
    return (
        f"<h2>The photograph: {escape(example.name)}</h2>{sentences(example.notes)}"
        f'<div class="columns photograph">{columns}</div>'
    )
