"""Which images of a collection can be used, and what is said of the others."""

from __future__ import annotations

import pytest
import torch

from equipoise.errors import InputError
from equipoise.problems import DataSplit


def image(side: int, other: int | None = None) -> torch.Tensor:
    return torch.rand(1, side, other or side, generator=torch.Generator().manual_seed(side))


def split(train: list[int], val: list[int], test: dict[str, torch.Tensor]) -> DataSplit:
    names = tuple(f"t{side}.png" for side in train), tuple(f"v{side}.png" for side in val)
    images = list(map(image, train)), list(map(image, val))
    return DataSplit("mine", *images, test, names=names)


def test_images_that_fit_stay_as_they_are() -> None:
    mine = split([48, 60], [128, 200], {"a": image(40)})
    found = mine.usable(48, 128, 11)
    assert [len(found.train), len(found.val), list(found.test)] == [2, 2, ["a"]]
    assert found.notes == ()


def test_small_images_are_left_out_by_name() -> None:
    tests = {"good": image(20), "tiny": image(8), "flat": image(20, 30), "black": image(20) * 0}
    found = split([20, 60, 47], [18, 128, 100, 90], tests).usable(48, 128, 11)
    assert [x.shape[1] for x in found.train] == [60]
    assert [x.shape[1] for x in found.val] == [128, 100, 90]
    assert list(found.test) == ["good", "flat"]
    words = " ".join(found.notes)
    assert "2 training image(s); t20.png, t47.png: smaller than a patch, 48 pixels" in words
    assert "1 validation image(s); v18.png" in words
    assert "2 test image(s); tiny, black" in words
    assert "cut to 90 pixels" in words
    assert list(split([60], [128], tests).usable(48, 128).test) == list(tests)


def test_none_left_is_an_error() -> None:
    with pytest.raises(InputError, match=r"No training image of 'mine' can be used; t20\.png"):
        split([20], [20], {"a": image(20)}).usable(48, 128)
    with pytest.raises(InputError, match="No test image"):
        split([60], [60], {"a": image(8)}).usable(48, 128, 11)


def test_images_without_names_are_counted() -> None:
    mine = DataSplit("mine", [image(20), image(60)], [image(60)], {"a": image(20)})
    assert "number 1:" in mine.usable(48, 64).notes[0]
