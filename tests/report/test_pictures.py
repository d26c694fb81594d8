"""Pictures show the numbers they are made of, on the scale that is stated."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from builders import TIED, UNTIED, build_comparison, build_task
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from equipoise.compare.records import Array
from equipoise.report.figures.curves import residuals_figure, running_mean
from equipoise.report.figures.pictures import (
    ERROR_LEVELS,
    centre_window,
    detail_window,
    error_limit,
    error_map,
    filter_sheet,
    picture,
)
from equipoise.report.figures.style import choose_styles
from equipoise.report.groups import group_runs


def _pixels(address: str) -> Array:
    data = base64.b64decode(address.partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        gray = image.mode in ("L", "P")
        return np.asarray(image.convert("L" if gray else "RGB"), dtype=np.float64)


def test_a_picture_shows_zero_to_one_and_clips() -> None:
    values = np.array([[-0.5, 0.0, 0.5, 1.0, 2.0, np.nan]])
    np.testing.assert_array_equal(_pixels(picture(values)), [[0, 0, 128, 255, 255, 0]])


def test_a_colour_picture_keeps_its_channels() -> None:
    values = np.zeros((2, 3, 3))
    values[..., 1] = 1.0
    assert _pixels(picture(values))[0, 0].tolist() == [0, 255, 0]


def test_an_error_map_is_white_at_zero_and_black_at_the_limit() -> None:
    truth = np.zeros((1, 5))
    image = np.array([[0.0, -0.1, 0.2, 0.9, np.nan]])
    shown = _pixels(error_map(image, truth, 0.2))
    assert shown[0, [0, 2, 3, 4]].tolist() == [255, 0, 0, 0]
    assert shown[0, 1] == pytest.approx(127.5, abs=255 / (ERROR_LEVELS - 1))


def test_an_error_map_averages_colours() -> None:
    image = np.zeros((1, 1, 3))
    image[0, 0, 0] = 0.3
    assert _pixels(error_map(image, np.zeros((1, 1, 3)), 0.1))[0, 0] == 0


@pytest.mark.parametrize(("error", "expected"), [(0.013, 0.02), (0.05, 0.05), (0.3, 0.5), (0, 1)])
def test_the_error_scale_is_a_round_number_that_holds_the_errors(
    error: float, expected: float
) -> None:
    task = build_task((TIED,), truths={"flat": np.zeros((4, 4))})
    task.runs[0].reconstructions["flat"] = np.full((4, 4), error)
    assert error_limit(task, ["flat"]) == pytest.approx(expected)


def test_the_enlarged_crop_is_where_the_detail_is() -> None:
    truth = np.zeros((200, 160))
    truth[150:180, 20:60] = np.random.default_rng(0).random((30, 40))
    window = detail_window(truth)
    assert (window.height, window.width) == (64, 64)
    assert window.top <= 149
    assert window.top + 64 >= 181
    assert window.left <= 19
    assert window.left + 64 >= 61


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 100)])
def test_small_photographs_have_a_crop_too(shape: tuple[int, int]) -> None:
    crop = detail_window(np.zeros(shape)).of(np.zeros(shape))
    assert min(crop.shape) >= 1


def test_large_photographs_are_cut_to_their_centre() -> None:
    image = np.arange(500.0)[:, None] * np.ones((1, 10))
    cut = centre_window(image).of(image)
    assert cut.shape == (320, 10)
    assert cut[0, 0] == 90


def test_filters_are_sorted_by_strength_on_their_own_scale() -> None:
    weak, strong = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
    weak[0, 0, 0], strong[0, 2, 2] = -0.1, 5.0
    shown = _pixels(filter_sheet(np.concatenate([weak, strong]), None))
    zoom = 84 // 3
    assert shown[0, 0] == 128
    assert shown[3 * zoom - 1, 3 * zoom - 1] == 255
    second = shown.shape[1] // 2
    assert shown[0, second] == 0


def test_a_tied_pair_shows_the_same_filter_twice_and_a_half_one_is_paler() -> None:
    filters = np.random.default_rng(0).standard_normal((1, 7, 7))
    side = 84 // 7 * 7
    same = _pixels(filter_sheet(filters, filters))
    np.testing.assert_array_equal(same[:side, :side], same[:side, side + 2 : 2 * side + 2])
    half = _pixels(filter_sheet(filters, 0.5 * filters))
    left, right = half[:side, :side] - 127.5, half[:side, side + 2 : 2 * side + 2] - 127.5
    np.testing.assert_allclose(right, 0.5 * left, atol=1.0)


def test_filters_that_vanish_are_gray() -> None:
    assert _pixels(filter_sheet(np.zeros((2, 3, 3)), None))[0, 0] == 128


def test_evaluations_that_differ_much_stand_on_powers_of_ten() -> None:
    task = build_task((TIED, UNTIED), size=8)
    evaluations, residual = task.runs[0].trace
    task.runs[0] = replace(task.runs[0], trace=(100 * evaluations, residual))
    figure = residuals_figure(group_runs(task), choose_styles(build_comparison(task)))
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "10³" in [text.get_text() for text in axes.get_xticklabels()]
    assert "10⁻³" in [text.get_text() for text in axes.get_yticklabels()]


def test_the_running_mean_keeps_straight_lines() -> None:
    x = np.arange(100.0)
    mean_x, mean_y = running_mean(x, 3 * x + 1)
    assert len(mean_x) == 96
    np.testing.assert_allclose(mean_y, 3 * mean_x + 1)


@pytest.mark.parametrize("length", [0, 1, 5])
def test_the_running_mean_leaves_short_logs_as_they_are(length: int) -> None:
    x = np.arange(float(length))
    np.testing.assert_array_equal(running_mean(x, x)[1], x)
