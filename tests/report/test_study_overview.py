"""The figure of all cases: dots where there is a bound, words where there is none."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from equipoise.bounds import Kind
from equipoise.report.figures.overview import floors_figure, overview, shares_figure
from equipoise.report.pages import study_page
from equipoise.study.records import CaseRecord, Number, StudyRecord


def study_of(name: str, *cases: CaseRecord) -> StudyRecord:
    return StudyRecord(name, "What?", {}, cases)


def case_of(regularizer: str, *numbers: Number) -> CaseRecord:
    return CaseRecord("inpaint", regularizer, "A mask.", (), numbers, ())


STABILITY = study_of(
    "stability",
    case_of("bounded", Number("norm_share", "share", 0.7), Number("data_share", "share", 0.9)),
    case_of("free", Number("norm_share", "share", None), Number("norm_reached", "reached", 42.0)),
)
FLOORS = study_of(
    "lower-bound",
    case_of(
        "proved",
        Number("camera_least_error", "least", 0.5),
        Number("camera_floor", "floor", 0.25, Kind.PROVED),
    ),
    case_of(
        "estimated",
        Number("camera_least_error", "least", 0.4),
        Number("camera_floor", "floor", 0.1, Kind.ESTIMATED),
    ),
    case_of(
        "none",
        Number("camera_least_error", "least", None),
        Number("camera_floor", "floor", None),
    ),
)


def test_shares_stand_left_of_the_line_and_missing_bounds_are_said() -> None:
    axes = shares_figure(STABILITY).axes[0]
    drawn = [tuple(line.get_xdata()) for line in axes.lines]
    assert drawn[:3] == [(0.7,), (0.9,), ()]
    assert drawn[3] == (1.0, 1.0)
    assert [text.get_text() for text in axes.texts] == ["image: 42, no bound"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["inpaint, bounded", "inpaint, free"]


def test_floors_are_bars_hatched_where_estimated_and_errors_are_dots() -> None:
    axes = floors_figure(FLOORS).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.1]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [False, True]
    assert [tuple(line.get_xdata()) for line in axes.lines] == [(0.5,), (0.4,)]


def test_the_page_shows_the_overview_and_the_side_of_the_bound() -> None:
    for study, side in ((STABILITY, "above"), (FLOORS, "below")):
        found = overview(study)
        assert found is not None
        page = study_page(study, "equipoise study")
        assert found.address in page
        assert f"lie {side} it" in page
        picture = Image.open(io.BytesIO(base64.b64decode(found.address.split(",")[1])))
        assert np.asarray(picture.convert("L")).std() > 10
    assert overview(study_of("rates")) is None
