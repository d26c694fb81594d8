"""The embedded photographs: a fixed split by scene, no download."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import rgb2gray
from skimage.transform import downscale_local_mean

from equipoise.errors import InputError
from equipoise.problems import photographs
from equipoise.problems.photographs import (
    TEST,
    TRAINING,
    VALIDATION,
    half_size,
    photograph_file,
)


@pytest.fixture(scope="module")
def gray():
    return photographs(dtype=torch.float64)


def test_scenes_are_disjoint_and_named():
    files = [*TRAINING.values(), *VALIDATION.values(), *TEST.values()]
    assert len(set(files)) == len(files)
    assert "motorcycle_right.png" not in files  # the same scene as the left view
    assert len(TEST) >= 4


def test_images_are_gray_in_range_and_of_the_stated_size(gray):
    assert gray.channels == 1
    for image in [*gray.train, *gray.val, *gray.test.values()]:
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1
        assert float(image.std()) > 0.02
    assert {tuple(image.shape) for image in [*gray.val, *gray.test.values()]} == {(1, 256, 256)}
    assert min(min(image.shape[1:]) for image in gray.train) >= 128


def test_pixels_are_those_of_scikit_image(gray):
    camera = skimage.data.camera()[128:384, 128:384] / 255
    np.testing.assert_allclose(gray.test["camera"][0].numpy(), camera, atol=1e-7)
    astronaut = rgb2gray(skimage.data.astronaut())[128:384, 128:384]
    np.testing.assert_allclose(gray.test["astronaut"][0].numpy(), astronaut, atol=1e-6)


def test_colour_has_three_channels():
    split = photographs(colour=True, crop=64)
    coffee = skimage.data.coffee()[168:232, 268:332].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(split.test["coffee"].numpy(), coffee, atol=1e-6)
    assert split.channels == 3
    assert torch.equal(split.test["camera"][0], split.test["camera"][2])


def test_half_size_is_the_mean_over_squares():
    image = torch.rand(1, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = downscale_local_mean(image[0].numpy(), (2, 2))
    np.testing.assert_allclose(half_size(image)[0].numpy(), expected, atol=1e-14)


def test_a_missing_photograph_is_an_error_not_a_download():
    with pytest.raises(InputError, match=r"does not contain 'eagle\.png'"):
        photograph_file("eagle.png")
