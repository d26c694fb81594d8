"""What can be certified of each method stands in a table of the task, with what fails."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from builders import TIED, TV, UNTIED, build_comparison, build_task
from certificates import statement
from test_page import ATTACK, Page

from equipoise.bounds import Kind
from equipoise.report.groups import group_runs
from equipoise.report.pages import comparison_page as render
from equipoise.report.statements import decibels, unmet
from equipoise.report.tables import Table, certified

FULL = (
    statement("strong_monotonicity", 0.25),
    statement("lipschitz_lower", 3.5, Kind.ESTIMATED),
    statement("lipschitz_upper", 4.0),
    statement("stability_norm", 1.25),
    statement("stability_data", 1.0),
    statement("distance_upper", 0.0125),
    statement("error_floor", 0.5),
    statement("error_lower_bound", 0.75, Kind.ESTIMATED),
    statement("error_upper_bound", inf),
    statement("symmetry_defect", 0.0),
)
ADVICE = "Take alpha below 0.2."
FAILING = (
    statement("strong_monotonicity", None, title="Modulus m", holds=False, advice=ADVICE),
    statement("stability_norm", None, title="Stability", holds=False, advice=ADVICE),
    statement("lipschitz_lower", 3.5, Kind.ESTIMATED),
)
METHODS = (TV, replace(TIED, certificates=FULL), replace(UNTIED, certificates=FAILING))


def cells(table: Table | None, label: str) -> list[str]:
    assert table is not None
    (row,) = (row for row in table.rows if row[0] == label)
    return row[1:]


def test_each_certified_method_has_its_numbers() -> None:
    table = certified(group_runs(build_task(METHODS)))
    assert table is not None
    floor, lower = (f"{decibels(value, 40 * 40):.2f}" for value in (0.5, 0.75))
    assert cells(table, "Tied pair, bilevel") == [
        "0.25",
        "3.5 (est.) to\n4",
        "x: 1.25\nAx: 1",
        "0.0125",
        floor,
        f"{lower} (est.)",
        "no limit",
        "27.60",
        "0",
    ]
    assert "photograph camera" in table.caption
    assert "Total variation" not in [row[0] for row in table.rows]  # it has no certificate


def test_a_failing_hypothesis_leaves_a_dash_and_its_remedy() -> None:
    groups = group_runs(build_task(METHODS))
    found = cells(certified(groups), "Untied pair, equilibrium")
    assert found[0] == found[3] == "–"
    assert found[2] == "x: –\nAx: –"
    assert found[1] == "3.5 (est.) to\n–"
    assert unmet(groups) == [
        f"Untied pair, equilibrium: not met for Modulus m, Stability. {ADVICE}"
    ]


def test_without_certificates_nothing_is_shown() -> None:
    groups = group_runs(build_task((TV, TIED)))
    assert certified(groups) is None
    assert unmet(groups) == []
    assert "What is not certified" not in render(build_comparison(build_task((TV, TIED))))


def test_the_page_shows_them_for_every_task() -> None:
    text = render(build_comparison(build_task(METHODS), build_task(METHODS, task="inpaint")))
    page = Page(text)
    assert page.text.count("What is not certified, and what would mend it") == 2
    assert text.count("What can be certified, for the photograph") == 4  # caption and label


def test_names_in_records_cannot_become_markup() -> None:
    bad = statement("strong_monotonicity", None, title=ATTACK, holds=False, advice=ATTACK)
    page = Page(render(build_comparison(build_task((replace(TIED, certificates=(bad,)), TV)))))
    assert "script" not in page.seen
    assert ATTACK in page.text


@pytest.mark.parametrize(("value", "text"), [("inf", "infinite"), ("-inf", "−infinite")])
def test_infinite_numbers_of_the_summary_are_read_back(value: str, text: str) -> None:
    found = replace(TIED, certificates=(statement("strong_monotonicity", float(value)),))
    assert cells(certified(group_runs(build_task((found,)))), TIED.label)[0] == text
