"""The idx reader against files written by hand, and the real digits."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.errors import InputError
from equipoise.problems import digits, read_idx
from shared_data import shared

VALUES = np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)


def idx(values: np.ndarray, code: int = 8) -> bytes:
    head = struct.pack(">HBB", 0, code, values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    return head + values.tobytes()


@pytest.mark.parametrize("values", [VALUES, VALUES[:, 0, 0]])
def test_plain_and_gzipped_files_are_read(tmp_path, values):
    (tmp_path / "a").write_bytes(idx(values))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(values)))
    for name in ("a", "a.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name).numpy(), values)


def packed(count: int, content: bytes = b"") -> bytes:
    """A gzipped file whose header names so many numbers, the same at every call."""
    return gzip.compress(struct.pack(">HBBI", 0, 8, 1, count) + content, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing", None, "There is no file"),
        ("a", b"", "not an idx file"),
        ("a", b"\x00\x00\x08", "not an idx file"),
        ("a", idx(VALUES, code=13), "not an idx file"),
        ("a", b"PNG and more", "not an idx file"),
        ("a", idx(VALUES)[:9], "truncated within its header"),
        ("a", idx(VALUES)[:-1], "should hold 6 x 4 x 5 bytes"),
        ("a", idx(VALUES) + b"x", "should hold 6 x 4 x 5 bytes"),
        ("a.gz", gzip.compress(idx(VALUES), mtime=0)[:-12], "truncated, damaged"),
        ("a.gz", idx(VALUES), "truncated, damaged"),
        ("a", struct.pack(">HBBI", 0, 8, 1, 2**32 - 1), "it holds less"),
        ("a", struct.pack(">HBB255I", 0, 8, 255, *[2**32 - 1] * 255), "it holds less"),
        ("a", struct.pack(">HBB70I", 0, 8, 70, *[1] * 70) + b"x", "truncated, damaged"),
        ("a.gz", packed(2**32 - 1), "it holds less"),
        ("a.gz", packed(3, bytes(10**7)), "it holds more"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_idx(tmp_path / name)


def test_digits_are_divided_from_the_end(tmp_path):
    (tmp_path / "a").write_bytes(idx(VALUES))
    split = digits(tmp_path / "a", validation=1, test=2, dtype=torch.float64)
    assert (len(split.train), len(split.val), list(split.test)) == (3, 1, ["digit-4", "digit-5"])
    np.testing.assert_allclose(split.test["digit-4"][0].numpy(), VALUES[4] / 255)
    np.testing.assert_allclose(split.val[0][0].numpy(), VALUES[3] / 255)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (VALUES[:, 0, 0], {}, "expected images"),
        (VALUES, {"validation": 4, "test": 2}, "too few"),
        (VALUES, {"validation": 0, "test": 2}, "too few"),
    ],
)
def test_files_that_cannot_be_divided_are_refused(tmp_path, values, options, words):
    (tmp_path / "a").write_bytes(idx(values))
    with pytest.raises(InputError, match=words):
        digits(tmp_path / "a", **options)


def test_the_real_digits():
    folder: Path = shared("mnist")
    split = digits(folder / "t10k-images-idx3-ubyte.gz")
    assert (len(split.train), len(split.val), len(split.test)) == (8500, 500, 1000)
    assert split.train[0].shape == (1, 28, 28)
    assert 0.1 < float(torch.stack(split.train).mean()) < 0.16
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    assert labels.shape == (10_000,)
    assert int(labels[0]) == 7
