"""Masks: exact shares, seeds, cropping of the user's mask, command-line names."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.problems import FixedMask, RandomPixels, RandomRows, mask_from_text


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
    PIL.Image.fromarray(np.array([[0, 100], [150, 200]], np.uint8)).save(tmp_path / "m.png")
    rule = mask_from_text(str(tmp_path / "m.png"))
    assert rule.draw((2, 2), shrink=False).tolist() == [[0, 1], [1, 1]]
    assert "m.png" in rule.description
    PIL.Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="knows no pixel"):
        mask_from_text(str(tmp_path / "black.png"))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("row:0.5", UnknownNameError, "Did you mean 'rows'"),
        ("rows:half", UsageError, "Cannot read the mask"),
        ("0", InputError, "must be in"),
        ("1.5", InputError, "must be in"),
        ("nan", InputError, "must be in"),
        ("rows:0", InputError, "must be in"),
        ("missing.png", InputError, "no image file"),
    ],
)
def test_unreadable_masks_are_refused(text, error, words):
    with pytest.raises(error, match=words):
        mask_from_text(text)
