"""Pieces of HTML; every text that is not markup passes through :func:`escape`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape as _escape

from equipoise.report.finding import Finding

_UNIT = re.compile(r"(\d) (%|dB\b|s\b)")


def escape(text: object) -> str:
    """Write a text so that HTML shows it as it is, quotes included."""
    return _escape(str(text), quote=True)


def sentences(texts: Iterable[str]) -> str:
    """Write plain sentences as a list, one item each."""
    return "<ul>" + "".join(f"<li>{prose(text)}</li>" for text in texts) + "</ul>"


def findings(items: Iterable[Finding]) -> str:
    """Write findings as a list, each led by its topic."""
    lines = (f"<li><b>{escape(f.topic)}.</b> {prose(f.text)}</li>" for f in items)
    return f'<ul class="findings">{"".join(lines)}</ul>'


def prose(text: str) -> str:
    """Write a plain sentence, keeping numbers and their units on one line."""
    return _UNIT.sub("\\1\u00a0\\2", escape(text))


def image(address: str, alt: str) -> str:
    """Write an embedded picture with the text that stands for it.

    Args:
        address: a data address.
        alt: plain text that says what the picture shows.
    """
    return f'<img src="{address}" alt="{escape(alt)}">'


def figure(address: str, alt: str, caption: str) -> str:
    """Write a picture with a plain-text caption."""
    return f"<figure>{image(address, alt)}<figcaption>{prose(caption)}</figcaption></figure>"


def figures(items: Sequence[str]) -> str:
    """Set figures side by side where the screen is wide enough."""
    return f'<div class="figures">{"".join(items)}</div>' if items else ""


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table that scrolls sideways in its own box; the first cell names its row.

    Args:
        caption: plain text.
        heads: plain text of the column heads.
        rows: plain text of the cells, one sequence a row; a line break starts a new line.
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<p class="caption">{prose(caption)}</p>'
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def details(summary: str, content: str) -> str:
    """Fold content (markup) away under a plain-text line."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"
