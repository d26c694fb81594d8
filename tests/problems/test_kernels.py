"""Blur kernels against sampling, closed forms, and their command-line names."""

from __future__ import annotations

import math

import numpy as np
import PIL.Image
import pytest
import torch

from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.problems import (
    deblur,
    gaussian_kernel,
    kernel_from_tensor,
    kernel_from_text,
    motion_kernel,
)
from equipoise.problems.photographs import photograph_file


def test_gaussian_has_its_variance_and_sum():
    values = gaussian_kernel(1.5).values
    t = torch.arange(values.shape[0], dtype=torch.float64) - values.shape[0] // 2
    assert values.shape == (13, 13)
    assert float(values.sum()) == pytest.approx(1.0, abs=1e-14)
    assert float((values.sum(0) * t**2).sum()) == pytest.approx(2.25, rel=2e-3)
    assert torch.allclose(values, values.T, atol=0, rtol=1e-15)
    assert torch.equal(values, values.flip(0))


def test_horizontal_motion_of_odd_length_is_a_row_of_equal_weights():
    assert torch.allclose(motion_kernel(9).values, torch.full((1, 9), 1 / 9).double(), atol=1e-15)
    vertical = motion_kernel(9, 90).values
    assert torch.allclose(vertical, torch.full((9, 1), 1 / 9).double(), atol=1e-15)
    even = torch.tensor([[0.5, 1, 1, 1, 0.5]]).double() / 4
    assert torch.allclose(motion_kernel(4).values, even, atol=1e-15)


@pytest.mark.parametrize("angle", [0.0, 17.0, 30.0, 45.0, 90.0, 123.0, 180.0, -60.0])
@pytest.mark.parametrize("length", [1.0, 4.0, 9.0, 12.5])
def test_motion_weighs_pixels_by_the_share_of_the_segment(length, angle):
    values = motion_kernel(length, angle).values.numpy()
    samples = 200_001
    t = (np.arange(samples) + 0.5) / samples * length - length / 2
    rows = np.rint(-t * math.sin(math.radians(angle)) + 1e-12).astype(int)
    columns = np.rint(t * math.cos(math.radians(angle)) + 1e-12).astype(int)
    expected = np.zeros_like(values)
    np.add.at(expected, (rows + values.shape[0] // 2, columns + values.shape[1] // 2), 1 / samples)
    np.testing.assert_allclose(values, expected, atol=1e-4)
    assert values.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(values, values[::-1, ::-1], atol=1e-12)


def test_motion_turns_counter_clockwise():
    values = motion_kernel(9, 30).values
    columns = values.shape[1]
    assert float(values[0, columns // 2 :].sum()) > 0  # up and to the right
    assert float(values[0, : columns // 2].sum()) == 0


def test_the_users_kernel_is_normalised_and_padded_in_words():
    values = torch.arange(1.0, 9.0).reshape(2, 4)
    kernel = kernel_from_tensor(values)
    assert kernel.values.shape == (3, 5)
    assert torch.allclose(kernel.values[:2, :4], values.double() / 36)
    assert float(kernel.values[2].abs().sum() + kernel.values[:, 4].abs().sum()) == 0
    assert kernel.notes == (
        "The kernel of even size 2 x 4 was padded with zeros to 3 x 5.",
        "The kernel was normalised to sum 1.",
    )
    assert kernel_from_tensor(torch.ones(1, 3) / 3).notes == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.tensor([[1.0, -1.0]]), "sums to zero"),
        (torch.zeros(3, 3), "sums to zero"),
        (-torch.ones(3, 3), "negative sum.*change its sign"),
        (torch.tensor([[1.0, -1.5]]), "negative sum"),
        (torch.tensor([[1.0, float("nan")]]), "NaN or infinite"),
        (torch.ones(3), "real matrix"),
        (torch.ones(3, 3, dtype=torch.complex64), "real matrix"),
        (torch.ones(0, 3), "real matrix"),
    ],
)
def test_impossible_kernels_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        kernel_from_tensor(values)


def test_kernels_by_name(tmp_path):
    assert torch.equal(kernel_from_text("motion:9").values, motion_kernel(9).values)
    assert torch.equal(kernel_from_text("motion:9:30").values, motion_kernel(9, 30).values)
    assert torch.equal(kernel_from_text("gaussian:1.5").values, gaussian_kernel(1.5).values)
    pixels = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.uint8) * 30
    PIL.Image.fromarray(pixels).save(tmp_path / "k.png")
    kernel = kernel_from_text(str(tmp_path / "k.png"))
    np.testing.assert_allclose(kernel.values.numpy(), pixels / pixels.sum(), atol=1e-7)
    assert "k.png" in kernel.description
    PIL.Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "zero.png")
    with pytest.raises(InputError, match="sums to zero"):
        kernel_from_text(str(tmp_path / "zero.png"))


def test_pictures_that_are_not_clearly_kernels_are_refused(tmp_path):
    y, x = np.mgrid[-15:16, -15:16]
    disc = ((y**2 + x**2 <= 15**2) * 255).astype(np.uint8)
    camera = np.asarray(PIL.Image.open(photograph_file("camera.png")))[:200:4, ::8]
    clear = np.dstack([disc, disc, disc, disc])
    for picture, words in (
        (255 - disc, "bright along its border"),
        (camera, "bright along its border"),
        (clear, "partly transparent"),
    ):
        PIL.Image.fromarray(picture).save(tmp_path / "k.png")
        with pytest.raises(InputError, match=rf"k\.png.*{words}"):
            kernel_from_text(str(tmp_path / "k.png"))
    np.save(tmp_path / "k.npy", -disc.astype(float))
    with pytest.raises(InputError, match="negative sum"):
        kernel_from_text(str(tmp_path / "k.npy"))
    for picture in (disc, np.full((21, 21), 255, np.uint8), np.ones((1, 30), np.uint8)):
        PIL.Image.fromarray(picture).save(tmp_path / "k.png")
        values = kernel_from_text(str(tmp_path / "k.png")).values
        shape = picture.shape
        np.testing.assert_allclose(values[: shape[0], : shape[1]], picture / picture.sum())


@pytest.mark.parametrize("text", ["gaussian:100000", "gaussian:1e300", "motion:1e9", "motion:4096"])
def test_kernels_are_never_larger_than_memory(text):
    with pytest.raises(InputError, match="more than 4095"):
        kernel_from_text(text)


def test_a_very_narrow_gaussian_is_one_pixel():
    for deviation in (1e-3, 1e-200, 5e-324):
        values = gaussian_kernel(deviation).values
        assert float(values[1, 1]) == 1.0
        assert float(values.sum()) == 1.0


@pytest.mark.parametrize("size", [(3, 5), (2, 4), (4, 3), (1, 6)])
def test_a_kernel_is_a_convolution_centred_as_in_scipy_ndimage(size):
    from scipy.ndimage import convolve
    from scipy.signal import convolve2d

    generator = torch.Generator().manual_seed(0)
    values = torch.rand(size, generator=generator, dtype=torch.float64)
    values /= values.sum()
    x = torch.rand(1, 1, 12, 13, generator=generator, dtype=torch.float64)
    y = deblur((1, 12, 13), values, dtype=torch.float64).physics.A(x)[0, 0].numpy()
    image = x[0, 0].numpy()
    np.testing.assert_allclose(y, convolve(image, values.numpy(), mode="wrap"), atol=1e-12)
    signal = convolve2d(image, values.numpy(), mode="same", boundary="wrap")
    shift = [-(n % 2 == 0) for n in size]  # the note of the documents
    np.testing.assert_allclose(np.roll(signal, shift, (0, 1)), y, atol=1e-12)


def test_a_misspelt_kernel_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'motion'"):
        kernel_from_text("moton:9")


@pytest.mark.parametrize("text", ["motion:", "motion:nine", "motion:1:2:3", "gaussian:1:2"])
def test_unreadable_kernels_are_refused(text):
    with pytest.raises(UsageError, match="Cannot read the kernel"):
        kernel_from_text(text)


@pytest.mark.parametrize("text", ["motion:0", "motion:-3", "motion:nan", "gaussian:0", "no.png"])
def test_kernels_out_of_range_are_refused(text):
    with pytest.raises(InputError):
        kernel_from_text(text)
