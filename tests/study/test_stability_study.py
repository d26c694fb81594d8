"""The study of stability: what is reported beside the certified constants."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.bounds import Kind
from equipoise.study.cases import Case, cases
from equipoise.study.records import CaseRecord
from equipoise.study.settings import StudySettings
from equipoise.study.stability import ALPHA, run_case

SETTINGS = StudySettings(size=12, repeats=2)


def record_of(place: str, name: str) -> tuple[Case, CaseRecord]:
    case = cases(SETTINGS, (place,), (name,))[0]
    return case, run_case(case, SETTINGS)


@pytest.mark.parametrize("place", ["inpaint", "blur", "sparse-view"])
@pytest.mark.parametrize("name", ["tikhonov", "contractive", "crr"])
def test_what_is_reached_stays_below_what_is_certified(place: str, name: str) -> None:
    _, record = record_of(place, name)
    for quantity in ("norm", "data", "bregman"):
        reached, constant = (
            record.number(f"{quantity}_reached"),
            record.number(f"{quantity}_constant"),
        )
        share = record.number(f"{quantity}_share")
        assert reached is not None
        assert constant is not None
        assert share is not None
        assert reached.value is not None
        if constant.value is None:
            assert quantity == "norm"
            assert name == "crr"
            assert "mu = 0" in constant.words
            assert share.value is None
            continue
        assert constant.kind is Kind.PROVED
        assert reached.kind is Kind.PROVED
        assert reached.value <= constant.value
        assert share.value == pytest.approx(reached.value / constant.value)
        if quantity == "data":
            assert share.value is not None
            assert share.value > 0.9


def test_tikhonov_reaches_the_closed_form() -> None:
    """For a mask the worst ratio is ``1 / (1 + alpha)``, far below ``1 / (2 sqrt(alpha))``."""
    _, record = record_of("inpaint", "tikhonov")
    norm, data = record.number("norm_reached"), record.number("data_share")
    assert norm is not None
    assert norm.value == pytest.approx(1 / (1 + ALPHA), rel=1e-6)
    assert norm.theory == pytest.approx(0.5 / ALPHA**0.5, rel=1e-5)
    assert data is not None
    assert data.value == pytest.approx(1.0, rel=1e-5)


def test_an_unconstrained_network_gets_numbers_and_no_constant() -> None:
    _, record = record_of("inpaint", "network")
    assert [panel.name for panel in record.panels] == ["norm"]
    reached, constant = record.number("norm_reached"), record.number("norm_constant")
    assert reached is not None
    assert reached.kind is Kind.ESTIMATED
    assert constant is not None
    assert constant.value is None
    assert "no constant is certified" in record.findings[0]
    # More than any mask with Tikhonov's regulariser allows.
    assert reached.value is not None
    assert reached.value > 1 / (1 + ALPHA)


def test_the_panel_shows_restarts_and_the_bound_and_the_pictures_the_attack() -> None:
    case, record = record_of("sparse-view", "contractive")
    panel = record.panels[0]
    assert [series.name for series in panel.series] == ["singular", "random", "bound"]
    for series in panel.series[:2]:
        assert all(low <= high for low, high in zip(series.low, series.high, strict=True))
        assert max(series.y) <= panel.series[2].y[0]
    base, seen, moved, change = record.pictures
    shape = tuple(case.images.shape[-2:])
    assert all(picture.values.shape == shape for picture in record.pictures)
    assert np.allclose(moved.values - base.values, change.values)
    assert seen.low == change.low == -change.high
    assert np.abs(change.values).max() <= change.high
