"""The pages of a comparison, a study and a certificate: HTML files that open offline.

A page holds everything itself: no script, font or picture is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from equipoise.certify.statement import Certificate
from equipoise.compare.records import Array, Comparison
from equipoise.errors import UsageError
from equipoise.files import atomic_write
from equipoise.report.figures.style import choose_styles
from equipoise.report.gallery import gallery
from equipoise.report.plainly import plain_words
from equipoise.report.templating import render
from equipoise.study.records import StudyRecord

#: Characters of HTML that all photographs together may use.
_PHOTOGRAPHS = 10_600_000


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


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the page of a comparison, replacing the file in one step.

    Args:
        comparison: what the main job produced, with at least one task.
        path: HTML file to write; its folder must exist.

    Raises:
        UsageError: if the comparison has no task.
        OutputError: if the file cannot be written.
    """
    if not comparison.tasks:
        raise UsageError("The comparison has no task, so there is nothing to report; name one.")
    atomic_write(path, comparison_page(comparison))


def comparison_page(comparison: Comparison) -> str:
    """Write the page of a comparison, which has at least one task, as one string of HTML."""
    return render(
        "comparison.html",
        comparison=comparison,
        styles=choose_styles(comparison),
        gallery=gallery,
        budget=_PHOTOGRAPHS // len(comparison.tasks),
    )


def study_page(study: StudyRecord, command: str) -> str:
    """Write the page of a study as one string of HTML.

    Args:
        study: what was measured.
        command: the command that produces it.
    """
    settings = {name: value for name, value in study.settings.items() if value is not None}
    return render("study.html", study=study, settings=settings, command=command)


def certificate_page(
    certificate: Certificate, example: Example, command: str, run: str = ""
) -> str:
    """Write the page of a certificate as one string of HTML.

    Args:
        certificate: what is known of one equation.
        example: the photograph that it was made with.
        command: the command that produces it.
        run: which run produced it.
    """
    return render(
        "certificate.html",
        certificate=certificate,
        plain=plain_words(certificate, example.truth.size),
        example=example,
        command=command,
        run=run,
    )
