"""HTML from the files in ``templates``; what is not markup is escaped there."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from equipoise.report import findings, groups, pairing, statements, tables, words
from equipoise.report.figures import bounds, cases, curves, intervals, overview, pictures

_ENVIRONMENT = Environment(
    loader=PackageLoader("equipoise.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(prose=words.prose, standing=statements.standing)
# Templates write sentences, numbers, tables and figures by the functions of these modules.
_WORDS = (findings, groups, pairing, statements, tables, words)
_FIGURES = (bounds, cases, curves, intervals, overview, pictures)
_ENVIRONMENT.globals.update({m.__name__.rpartition(".")[2]: m for m in (*_WORDS, *_FIGURES)})


def render(template: str, **context: object) -> str:
    """Fill a template.

    Args:
        template: name of its file.
        context: what it shows.
    """
    return _ENVIRONMENT.get_template(template).render(context)
