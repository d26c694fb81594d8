"""A certificate's page and table show each statement, and say what fails and what would mend it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from math import inf, nan

import pytest
from certificates import build_certificate, build_example, statement
from rich.console import Console
from test_page import ATTACK, Page

from equipoise.bounds import Kind
from equipoise.certify.statement import Certificate, Section
from equipoise.report.pages import certificate_page
from equipoise.report.statements import decibels, standing
from equipoise.report.terminal import print_certificate
from equipoise.report.words import quantity


def render(certificate: Certificate) -> str:
    return certificate_page(certificate, build_example(), "equipoise certify")


def test_every_statement_stands_on_the_page() -> None:
    certificate = build_certificate()
    page = Page(render(certificate))
    assert len(set(page.identifiers)) == len(page.identifiers)
    for each in certificate:
        assert each.name in page.identifiers
        for text in (each.title, each.words, each.assumes, each.source, each.advice):
            assert text in page.text
    for section in certificate.sections:
        assert section.title in page.text
    assert "4.568" in page.text
    assert "infinite" in page.text
    assert "equipoise certify" in page.text
    assert "26.02\u00a0dB restored" in page.text


def test_each_statement_carries_its_standing() -> None:
    text = render(build_certificate())
    for name, mark in (
        ("lipschitz_upper", "PROVED"),
        ("lipschitz_lower", "ESTIMATED"),
        ("uniqueness", "NOT MET"),
    ):
        block = re.search(rf'id="{name}">(.*?)<span class="mark">([A-Z ]+)</span>', text, re.S)
        assert block is not None
        assert block[2] == mark
    assert "7 PROVED, 1 ESTIMATED, 1 NOT MET" in text


def test_no_number_stands_where_a_hypothesis_fails() -> None:
    block = re.search(r'id="uniqueness">.*?</div></div>', render(build_certificate()), re.S)
    assert block is not None
    assert 'class="value"' not in block[0]
    assert 'What would mend it: <a href="#remedy-1">1</a>' in block[0]


def test_a_certificate_without_failures_has_no_such_section() -> None:
    kept = Certificate("All is well.", (Section("One", (statement("one", 1.0),)),))
    assert "What is not met" in render(build_certificate())
    text = render(kept)
    assert "What is not met" not in text
    assert "At a glance" not in text  # nothing to draw


def test_the_page_fetches_nothing_and_is_safe() -> None:
    bad = replace(
        statement("one", nan, Kind.ESTIMATED, title=ATTACK, advice=ATTACK, holds=False),
        words=ATTACK,
        assumes=ATTACK,
        source=ATTACK,
    )
    certificate = Certificate(ATTACK, (*build_certificate().sections, Section(ATTACK, (bad,))))
    example = replace(build_example(), name=ATTACK, notes=(ATTACK,))
    text = certificate_page(certificate, example, ATTACK)
    page = Page(text)
    assert "script" not in page.seen
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.identifiers for link in page.links)
    assert not re.search(r"https?://|url\(|@import", text)
    assert ATTACK in page.text


def test_figures_say_their_numbers() -> None:
    alternatives = " ".join(Page(render(build_certificate())).alternatives)
    assert "Lipschitz constant of R 3.22 to 4.568" in alternatives
    assert f"measured {decibels(1.2, 576):.2f} dB" in alternatives
    assert "factor 0.9 a step" in alternatives


def test_the_table_says_the_same() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    print_certificate(build_certificate(), 576, console)
    text = console.export_text()
    for each in build_certificate():
        assert each.title in text
        assert standing(each) in text
    assert "[1] Take alpha below 0.2, or <b>R</b>." in text
    assert "Words about uniqueness. Remedy: [1]." in text
    assert "4.568" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (nan, "–"),
        (inf, "infinite"),
        (-inf, "−infinite"),
        (0.0, "0"),
        (-0.123456, "−0.1235"),
        (1234567.0, "1.235e+06"),
    ],
)
def test_quantities(value: float | None, text: str) -> None:
    assert quantity(value) == text


def test_decibels_are_the_psnr_of_an_error() -> None:
    assert decibels(10.0, 100) == pytest.approx(0.0)
    assert decibels(0.1, 100) == pytest.approx(40.0)
    assert decibels(0.0, 100) == inf
