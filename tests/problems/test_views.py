"""Directions of a tomograph: what texts mean, and which are refused."""

from __future__ import annotations

import pytest
import torch

from equipoise.errors import InputError, UsageError
from equipoise.problems import Views, views_from_text


@pytest.mark.parametrize(
    ("text", "views", "degrees"),
    [
        ("4", Views(4), [0.0, 45.0, 90.0, 135.0]),
        (" 3:0-120 ", Views(3, 0.0, 120.0), [0.0, 40.0, 80.0]),
        ("2:-60-60", Views(2, -60.0, 60.0), [-60.0, 0.0]),
        ("4:.5-2.5", Views(4, 0.5, 2.5), [0.5, 1.0, 1.5, 2.0]),
        ("2:-90--30", Views(2, -90.0, -30.0), [-90.0, -60.0]),
        ("1", Views(1), [0.0]),
        ("4:0-360", Views(4, 0.0, 360.0), [0.0, 90.0, 180.0, 270.0]),
        ("0, 10,25.5", Views.of([0, 10, 25.5]), [0.0, 10.0, 25.5]),
    ],
)
def test_texts_mean_directions(text: str, views: Views, degrees: list[float]) -> None:
    assert views_from_text(text) == views
    assert views.degrees().dtype == torch.float64
    assert views.degrees().tolist() == pytest.approx(degrees, abs=1e-13)


@pytest.mark.parametrize("text", ["", "many", "30:", "30:120", "30:0-", "1.5", "-3", "30;0-9"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"60:0-120"):
        views_from_text(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "at least one"),
        ("30:90-90", "upwards"),
        ("30:120-0", "upwards"),
        ("30:0-361", "at most 360"),
        ("1000000000", "at most 100000"),
        ("9" * 5000, "at most 100000"),
    ],
)
def test_impossible_directions_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        views_from_text(text)


def test_ranges_are_finite() -> None:
    with pytest.raises(InputError, match="finite"):
        Views(3, 0.0, float("nan"))


def test_descriptions() -> None:
    assert Views(1, 10.0, 20.5).description == "1 direction over 10 to 20.5 degrees"
    assert Views.of([9, 3.5]).description == "2 directions between 3.5 and 9 degrees"
    assert Views(30).description == "30 directions over 0 to 180 degrees"
