"""HTML from the files in ``templates``; what is not markup is escaped there."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from equipoise.report import findings, groups, pairing, statements, tables, words
from equipoise.report.figures import certificate, curves, intervals, overview, pictures, study

_ENVIRONMENT = Environment(
    loader=PackageLoader("equipoise.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(prose=words.prose, standing=statements.standing)
#: Templates write numbers, tables and figures by the functions of these modules.
_ENVIRONMENT.globals.update(
    findings=findings,
    groups=groups,
    pairing=pairing,
    pictures=pictures,
    statements=statements,
    tables=tables,
    words=words,
    draw={
        module.__name__.rpartition(".")[2]: module
        for module in (certificate, curves, intervals, overview, study)
    },
)


def render(template: str, **context: object) -> str:
    """Fill a template.

    Args:
        template: name of its file.
        context: what it shows.
    """
    return _ENVIRONMENT.get_template(template).render(context)
