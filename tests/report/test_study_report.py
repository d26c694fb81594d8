"""Figures, page and table of a study."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from equipoise.bounds import Kind
from equipoise.report.figures.cases import case_figure, save_case_figures
from equipoise.report.pages import study_page
from equipoise.report.terminal import print_study
from equipoise.study.records import CaseRecord, Number, Panel, Picture, Series, StudyRecord

X = (1e-1, 1e-2, 1e-3)


def a_case(name: str = "inpaint") -> CaseRecord:
    measured = Series(
        "linear",
        "α = cδ",
        X,
        (1.0, 0.1, 0.01),
        low=(0.9, 0.09, math.nan),
        high=(1.1, 0.11, math.nan),
        status=("CONVERGED", "STAGNATED", "CONVERGED"),
        limited=(True, False, True),
    )
    bound = Series("linear_bound", "bound", X, (2.0, 0.2, 0.02), role="bound", kind=Kind.PROVED)
    floor = Series("floor", "certified floor", X, (1e-3,) * 3, role="bound", kind=Kind.PROVED)
    oracle = Series("oracle", "oracle", X, (0.5, 0.05, 0.005), role="reference")
    flat = Series("flat", "flat", X, (1.0, 1.1, math.nan))
    return CaseRecord(
        name,
        "contractive",
        "A <b>mask</b>.",
        (
            Panel("error", "Error", "δ", "error", (measured, bound, floor, oracle)),
            Panel("other", "Other", "step", "value", (flat,), log_x=False, log_y=False),
        ),
        (
            Number("slope", "slope", 1.0, low=0.9, high=1.1, theory=1.0, status="CONVERGED"),
            Number("hidden", "not in the terminal", None, kind=Kind.PROVED, main=False),
        ),
        ("It falls & falls.",),
        unsolved=1,
        solves=3,
        pictures=(Picture("worst perturbation", np.linspace(-1, 1, 16).reshape(4, 4), -1.0, 1.0),),
    )


def a_study() -> StudyRecord:
    return StudyRecord(
        "rates", "How fast?", {"size": 12, "data": None}, (a_case(),), {"torch": "2"}
    )


def test_figure_shows_curves_bounds_and_crosses() -> None:
    figure = case_figure(a_case())
    first, second = figure.axes
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert (second.get_xscale(), second.get_yscale()) == ("linear", "linear")
    legend = first.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [
        "α = cδ",
        "certified floor (PROVED)",
        "oracle",
        "bound (PROVED)",
        "a choice at the limit of its search",
        "a solve did not converge",
    ]
    lines = {line.get_label(): line for line in first.get_lines()}
    curve, cross = lines["α = cδ"], lines["a solve did not converge"]
    assert cross.get_xydata().tolist() == [[1e-2, 0.1]]
    ring = lines["a choice at the limit of its search"]
    assert ring.get_xydata().tolist() == [[1e-1, 1.0], [1e-3, 0.01]]
    assert ring.get_markerfacecolor() == "none"
    labels = [text.get_text() for text in second.get_legend().get_texts()]
    assert "a choice at the limit of its search" not in labels
    dashed = [line for line in first.get_lines() if line.get_linestyle() == "--"]
    owned = [line for line in dashed if line.get_color() == curve.get_color()]
    assert [line.get_ydata().tolist() for line in owned] == [[2.0, 0.2, 0.02]]


def test_figures_are_files_of_both_kinds_and_always_the_same(tmp_path: Path) -> None:
    png, svg = save_case_figures(a_case(), tmp_path / "inpaint-1.5")
    assert (png.name, svg.name) == ("inpaint-1.5.png", "inpaint-1.5.svg")
    with Image.open(png) as picture:
        assert picture.size[0] == 750
    before = svg.read_bytes()
    assert ElementTree.fromstring(before).tag.endswith("svg")
    save_case_figures(a_case(), tmp_path / "inpaint-1.5")
    assert svg.read_bytes() == before


def test_page_holds_everything_and_escapes_texts() -> None:
    text = study_page(a_study(), "equipoise study rates --size 12")
    assert "equipoise study rates --size 12" in text
    assert "A &lt;b&gt;mask&lt;/b&gt;." in text
    assert "It falls &amp; falls." in text
    assert "2 of 3 solves converged." in text
    assert text.count("data:image/png") == 2
    assert "not in the terminal" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert text.startswith("<!DOCTYPE html>")


def test_terminal_shows_main_numbers_and_findings() -> None:
    console = Console(record=True, width=120, file=None)
    with console.capture() as capture:
        print_study(a_study(), console)
    text = capture.get()
    assert "inpaint, contractive" in text
    assert "[0.9, 1.1]" in text
    assert "It falls & falls." in text
    assert "not in the terminal" not in text


def test_record_leaves_pictures_out_and_writes_missing_numbers_as_null() -> None:
    found = a_study().record()
    (case,) = found["cases"]
    assert "pictures" not in case
    assert case["panels"][0]["series"][0]["low"][2] is None
    assert case["numbers"][1]["kind"] == "PROVED"
