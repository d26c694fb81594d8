"""Folders of the user's images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from equipoise.errors import InputError
from equipoise.problems import folder_images
from equipoise.problems.datasplit import DataSplit, centre_crop
from shared_data import shared


def make(file: Path, level: int, size: tuple[int, int] = (12, 14), mode: str = "L") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    colour = {"L": level, "RGB": (level, 0, 0), "RGBA": (level, level, level, 90)}[mode]
    PIL.Image.new(mode, size[::-1], colour).save(file)


def levels(images: list[torch.Tensor]) -> list[int]:
    return [round(float(image.mean()) * 255) for image in images]


def test_sorted_files_are_divided_from_the_end(tmp_path):
    for k in reversed(range(10)):
        make(tmp_path / f"{k}.png", 10 * k)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    split = folder_images(tmp_path)
    assert levels(split.train) == [0, 10, 20, 30, 40, 50, 60]
    assert levels(split.val) == [70]
    assert {name: levels([image])[0] for name, image in split.test.items()} == {"8": 80, "9": 90}
    assert split.name == tmp_path.name


def test_three_images_are_enough(tmp_path):
    for k in range(3):
        make(tmp_path / f"{k}.png", 10 * k)
    split = folder_images(tmp_path)
    assert (levels(split.train), levels(split.val), list(split.test)) == ([0], [10], ["2"])


@pytest.mark.parametrize("val", [False, True])
def test_subfolders_are_the_sets(tmp_path, val):
    for k in range(3):
        make(tmp_path / "train" / f"{k}.png", k)
    make(tmp_path / "test" / "a.png", 100)
    if val:
        make(tmp_path / "val" / "b.png", 50)
    split = folder_images(tmp_path)
    assert levels(split.train) == ([0, 1, 2] if val else [0, 1])
    assert levels(split.val) == ([50] if val else [2])
    assert list(split.test) == ["a"]


def test_colour_gray_and_crops(tmp_path):
    for k in range(3):
        make(tmp_path / f"{k}.png", 100, size=(40, 60), mode="RGB")
    gray, colour = folder_images(tmp_path, crop=16), folder_images(tmp_path, colour=True, crop=None)
    assert (gray.channels, colour.channels) == (1, 3)
    assert gray.train[0].shape == (1, 40, 60)
    assert gray.test["2"].shape == (1, 16, 16)
    assert colour.test["2"].shape == (3, 40, 60)
    assert float(gray.val[0].mean()) == pytest.approx(0.2125 * 100 / 255, rel=1e-5)


def test_names_that_differ_in_their_ending_only_stay_apart(tmp_path):
    make(tmp_path / "train" / "a.png", 1)
    make(tmp_path / "train" / "b.png", 1)
    make(tmp_path / "test" / "a.png", 2)
    make(tmp_path / "test" / "a.tif", 3)
    assert list(folder_images(tmp_path).test) == ["a.png", "a.tif"]


def one(folder: Path) -> None:
    make(folder / "only.png", 1)


def corrupt(folder: Path) -> None:
    for k in range(3):
        make(folder / f"{k}.png", k, size=(64, 64))
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])


def transparent(folder: Path) -> None:
    for k in range(3):
        make(folder / f"{k}.png", k, mode="RGBA" if k == 2 else "L")


def only_train(folder: Path) -> None:
    make(folder / "train" / "a.png", 1)


def one_for_training(folder: Path) -> None:
    make(folder / "train" / "a.png", 1)
    make(folder / "test" / "b.png", 1)


def two_channels(folder: Path) -> None:
    for k in range(3):
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{k}.npy", np.zeros((2, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.mkdir(), "has no images"),
        (one, r"has 1 image\(s\), but at least 3"),
        (corrupt, "1.png' cannot be read"),
        (transparent, "2.png' is partly transparent"),
        (only_train, "'train' and 'test' go together"),
        (one_for_training, "has one image"),
        (two_channels, "0.npy': Expected a gray or colour image"),
    ],
)
def test_unusable_folders_are_refused(tmp_path, prepare, words):
    prepare(tmp_path / "data")
    with pytest.raises(InputError, match=words):
        folder_images(tmp_path / "data")


def test_a_split_has_images_of_one_kind_in_every_part():
    image = torch.zeros(1, 4, 4)
    with pytest.raises(InputError, match="no validation image"):
        DataSplit("mine", [image], [], {"a": image})
    with pytest.raises(InputError, match="differ in channels or dtype"):
        DataSplit("mine", [image], [image.double()], {"a": image})


def test_centre_crop_takes_the_middle_or_all():
    image = torch.arange(35.0).reshape(1, 5, 7)
    assert centre_crop(image, 3).tolist() == [[[9, 10, 11], [16, 17, 18], [23, 24, 25]]]
    assert centre_crop(image, 6).shape == (1, 5, 6)
    assert torch.equal(centre_crop(image, 9), image)


def test_twelve_standard_images():
    split = folder_images(shared("set12"))
    assert (len(split.train), len(split.val), len(split.test)) == (9, 1, 2)
    assert all(image.shape == (1, 256, 256) for image in split.test.values())
