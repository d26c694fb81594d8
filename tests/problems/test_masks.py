"""Masks: exact shares, seeds, cropping of the user's mask, command-line names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.problems import (
    FixedMask,
    RandomPixels,
    RandomRows,
    inpaint,
    kernels,
    mask_from_text,
)
from equipoise.problems.photographs import photograph_file


@pytest.mark.parametrize("size", [(40, 50), (7, 6, 5)])
def test_random_pixels_have_their_exact_share_and_seed(size):
    mask = RandomPixels(0.3, seed=1).draw(size, shrink=False)
    count = int(np.prod(size))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert int(mask.sum()) == round(0.3 * count)
    assert torch.equal(mask, RandomPixels(0.3, seed=1).draw(size, shrink=True))
    assert not torch.equal(mask, RandomPixels(0.3, seed=2).draw(size, shrink=False))


def test_random_pixels_are_spread_over_the_image():
    mask = RandomPixels(0.5, seed=0).draw((128, 128), shrink=False)
    blocks = mask.reshape(4, 32, 4, 32).mean((1, 3))
    assert float((blocks - 0.5).abs().max()) < 0.08  # five standard deviations


def test_rows_are_known_as_a_whole():
    mask = RandomRows(0.25, seed=0).draw((40, 13), shrink=False)
    assert torch.equal(mask, mask[:, :1].expand(40, 13))
    assert int(mask[:, 0].sum()) == 10


def test_the_users_mask_is_taken_as_it_is_or_cut_to_its_own_share():
    values = torch.zeros(20, 30)
    values[:, 15:] = 1
    values[0, 0] = 1
    rule = FixedMask(values)
    assert torch.equal(rule.draw((20, 30), shrink=False), values.double())
    part = rule.draw((8, 10), shrink=True)
    assert part.shape == (8, 10)
    assert abs(float(part.mean()) - float(values.mean())) < 0.02


@pytest.mark.parametrize(("size", "shrink"), [((8, 10), False), ((21, 30), True), ((3,), True)])
def test_a_mask_of_the_wrong_size_is_refused(size, shrink):
    with pytest.raises(InputError, match="The mask has size 20 x 30"):
        FixedMask(torch.ones(20, 30)).draw(size, shrink)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.zeros(4, 4), "knows no pixel"),
        (torch.full((4, 4), 0.5), "zeros .missing. and ones"),
        (torch.full((4, 4), float("nan")), "zeros .missing. and ones"),
        (torch.ones(0, 4), "zeros .missing. and ones"),
    ],
)
def test_impossible_masks_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        FixedMask(values)


def test_masks_by_name(tmp_path):
    assert mask_from_text("0.4", seed=3) == RandomPixels(0.4, 3)
    assert mask_from_text("rows:0.4", seed=3) == RandomRows(0.4, 3)
    PIL.Image.fromarray(np.array([[0, 255], [255, 255]], np.uint8)).save(tmp_path / "m.png")
    rule = mask_from_text(str(tmp_path / "m.png"))
    assert rule.draw((2, 2), shrink=False).tolist() == [[0, 1], [1, 1]]
    assert rule.description == "75 % of the pixels are known, by the mask 'm.png'"
    assert inpaint((1, 2, 2), rule).notes == (f"{rule.description}.",)
    assert inpaint((1, 2, 2), 0.5).notes == ()


HOLE = np.zeros((40, 50), bool)
HOLE[5:20, 10:35] = True


def painted(hole: object, ground: object = 255) -> np.ndarray:
    """A picture of one colour with a rectangle of another."""
    colours = np.broadcast_arrays(np.array(hole), np.array(ground))
    return np.where(HOLE[..., None] if colours[0].ndim else HOLE, *colours).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg"])
@pytest.mark.parametrize(
    "hole", [0, 128, 220, (0, 255, 0), (255, 255, 0), (255, 0, 255), (200, 220, 255)]
)
def test_what_is_not_white_is_missing_whatever_its_colour(tmp_path, hole, suffix):
    file = tmp_path / f"m.{suffix}"
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    PIL.Image.fromarray(painted(hole)).save(file, **options)
    known = mask_from_text(str(file)).draw((40, 50), shrink=False).numpy()
    np.testing.assert_array_equal(known, ~HOLE)


def test_two_values_of_which_one_is_0_are_a_mask_in_every_type(tmp_path):
    for dtype in ("bool", "uint8", "int64", "float32", "int16"):
        np.save(tmp_path / "m.npy", (~HOLE).astype(dtype))
        known = mask_from_text(str(tmp_path / "m.npy")).draw((40, 50), shrink=False).numpy()
        np.testing.assert_array_equal(known, ~HOLE)
    PIL.Image.fromarray(painted(0, 100)).save(tmp_path / "m.png")
    known = mask_from_text(str(tmp_path / "m.png")).draw((40, 50), shrink=False).numpy()
    np.testing.assert_array_equal(known, ~HOLE)


def test_soft_edges_go_to_the_nearer_colour(tmp_path):
    picture = painted((0, 200, 0))
    picture = np.dstack([picture]) if picture.ndim == 2 else picture
    picture[12, 10] = (200, 240, 200)  # mostly white
    picture[12, 34] = (60, 210, 60)
    PIL.Image.fromarray(picture).save(tmp_path / "m.png")
    known = mask_from_text(str(tmp_path / "m.png")).draw((40, 50), shrink=False).numpy()
    expected = ~HOLE
    expected[12, 10] = True
    np.testing.assert_array_equal(known, expected)


def camera() -> np.ndarray:
    return np.asarray(PIL.Image.open(photograph_file("camera.png")))[::4, ::4]


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((40, 50), np.uint8), "knows no pixel"),
        (np.full((40, 50), 255, np.uint8), "of one colour"),
        (np.full((40, 50), 90, np.uint8), "of one colour"),
        (np.tile(np.array([0, 200, 0], np.uint8), (40, 50, 1)), "no white"),
        (painted(100, 200), "no white"),
        (painted(250), "white all over"),
        (painted(235), "nearly white"),
        (camera(), "not clearly a mask"),
        (np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8), "of further colours"),
        (np.where(HOLE, np.arange(50) * 5, 255).astype(np.uint8), "of further colours"),
        (painted((0, 0, 0, 0), (255, 255, 255, 255)), "partly transparent"),
    ],
)
def test_pictures_that_are_not_clearly_masks_are_refused(tmp_path, picture, words):
    PIL.Image.fromarray(picture).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=rf"m\.png.*{words}"):
        mask_from_text(str(tmp_path / "m.png"))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("row:0.5", UnknownNameError, "Did you mean 'rows'"),
        ("rows:half", UsageError, "Cannot read the mask"),
        ("0", InputError, "must be in"),
        ("1.5", InputError, "must be in"),
        ("nan", UsageError, "NaN of measured files"),
        ("rows:0", InputError, "must be in"),
        ("missing.png", InputError, "no image file"),
    ],
)
def test_unreadable_masks_are_refused(text, error, words):
    with pytest.raises(error, match=words):
        mask_from_text(text)


def test_what_looking_at_a_picture_raises_is_a_plain_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PIL.Image.fromarray(painted(0)).save(tmp_path / "m.png")

    def full(*arguments: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch.Tensor, "unique", full)
    with pytest.raises(InputError, match=r"m\.png.*more memory than there is"):
        mask_from_text(str(tmp_path / "m.png"))
    monkeypatch.setattr(kernels, "to_gray", full)
    with pytest.raises(InputError, match=r"m\.png.*more memory than there is"):
        kernels.kernel_from_text(str(tmp_path / "m.png"))
