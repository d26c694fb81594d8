"""TIFF as instruments write it: bands, alpha, few bits, codecs."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from equipoise.errors import InputError
from equipoise.images import Depth, read_image, write_image
from equipoise.problems import FixedMask, mask_from_text

RNG = np.random.default_rng(1)


def numbers(shape: tuple[int, ...], most: int = 255, dtype: str = "uint8") -> np.ndarray:
    return RNG.integers(0, most, shape, endpoint=True).astype(dtype)


def planes(values: np.ndarray, white: float) -> np.ndarray:
    """Stored values (H, W, C) as an image has them."""
    return values.transpose(2, 0, 1).astype(np.float64) / white


# ---- bands and alpha -----------------------------------------------------------------------------


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize(
    ("photometric", "extra", "alpha"),
    [
        ("minisblack", (0,), None),
        ("minisblack", (0, 0), None),
        ("minisblack", (0,) * 6, None),
        ("minisblack", (0, 2), 2),
        ("rgb", (0,), None),
        ("rgb", (2,), 3),
        ("rgb", (0, 2), 4),
        ("rgb", (2, 0), 3),
    ],
)
def test_a_band_is_a_band_unless_the_file_says_alpha(tmp_path, photometric, extra, alpha, separate):
    count = (3 if photometric == "rgb" else 1) + len(extra)
    values = numbers((6, 7, count), 65535, "uint16")
    stored = values.transpose(2, 0, 1) if separate else values
    layout = "separate" if separate else "contig"
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric=photometric, planarconfig=layout, extrasamples=extra
    )
    image = read_image(tmp_path / "a.tif")
    bands = [k for k in range(count) if k != alpha]
    np.testing.assert_allclose(image.pixels.numpy(), planes(values, 65535)[bands], atol=1e-7)
    if alpha is None:
        assert image.alpha is None
    else:
        expected = planes(values, 65535)[alpha : alpha + 1]
        np.testing.assert_allclose(image.alpha.numpy(), expected, atol=1e-7)
    write_image(tmp_path / "b.tif", image)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        page = tiff.pages[0]
        assert tuple(page.extrasamples) == extra
        assert page.photometric.name.lower() == photometric
        np.testing.assert_array_equal(page.asarray(), values)


def test_a_fourth_sample_that_the_file_says_nothing_of_is_a_band(tmp_path):
    values = numbers((6, 7, 4))
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=[0])
    data = (tmp_path / "a.tif").read_bytes()
    tag = struct.pack("<HHI", 338, 3, 1)  # ExtraSamples, SHORT, one
    assert data.count(tag) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(tag, struct.pack("<HHI", 65000, 3, 1)))
    image = read_image(tmp_path / "a.tif")
    assert image.alpha is None
    np.testing.assert_allclose(image.pixels.numpy(), planes(values, 255), atol=1e-7)


def test_associated_alpha_is_refused_unless_everything_is_opaque(tmp_path):
    values = numbers((6, 7, 4))
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=[1])
    with pytest.raises(InputError, match=r"multiplied by alpha.*straight"):
        read_image(tmp_path / "a.tif")
    values[:, :, 3] = 255
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=[1])
    image = read_image(tmp_path / "a.tif")
    assert bool((image.alpha == 1).all())
    write_image(tmp_path / "b.tif", image)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tuple(tiff.pages[0].extrasamples) == (1,)


def test_two_alphas_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers((6, 7, 5)), photometric="rgb", extrasamples=[2, 2])
    with pytest.raises(InputError, match="2 of them alpha"):
        read_image(tmp_path / "a.tif")


# ---- depth ---------------------------------------------------------------------------------------


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of samples of a few bits, by hand: as text of zeros and ones."""
    rows = bytearray()
    for row in values.reshape(len(values), -1):
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows += int(text, 2).to_bytes(len(text) // 8, "big")
    return bytes(rows)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_10_to_14_bits_have_their_own_white_and_are_written_with_it(
    tmp_path, bits, channels
):
    values = numbers((5, 7, channels), 2**bits - 1, "uint16")
    values[0, 0] = 2**bits - 1
    shape = values.shape if channels == 3 else values.shape[:2]
    tifffile.imwrite(
        tmp_path / "a.tif",
        iter([packed(values, bits)]),
        shape=shape,
        dtype=np.uint16,
        bitspersample=bits,
        photometric="rgb" if channels == 3 else "minisblack",
        rowsperstrip=5,
    )
    image = read_image(tmp_path / "a.tif")
    assert (image.white, float(image.pixels[0, 0, 0])) == (2**bits - 1, 1.0)
    np.testing.assert_allclose(image.numbers.numpy(), planes(values, 1), atol=1e-3)
    np.testing.assert_allclose(image.pixels.numpy(), planes(values, 2**bits - 1), atol=1e-7)
    write_image(tmp_path / "b.tif", image)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tiff.pages[0].bitspersample == bits
        np.testing.assert_array_equal(tiff.pages[0].asarray().reshape(values.shape), values)
    write_image(tmp_path / "c.png", image)  # 16 bits, white is white
    shown = read_image(tmp_path / "c.png").pixels
    np.testing.assert_allclose(shown.numpy(), image.pixels.numpy(), atol=1e-5)


@pytest.mark.parametrize("codec", ["lzw", "zlib", "packbits", "zstd"])
def test_16_bit_colour_stays_16_bit_with_every_codec(tmp_path, codec):
    values = numbers((6, 7, 3), 65535, "uint16")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", compression=codec)
    image = read_image(tmp_path / "a.tif")
    assert image.depth is Depth.UINT16
    np.testing.assert_allclose(image.pixels.numpy(), planes(values, 65535), atol=1e-7)


def test_bilevel_tiff_becomes_8_bits(tmp_path):
    values = numbers((6, 7), 1).astype(bool)
    for meaning in ("minisblack", "miniswhite"):
        tifffile.imwrite(tmp_path / "a.tif", values, photometric=meaning)
        image = read_image(tmp_path / "a.tif")
        assert image.depth is Depth.UINT8
        white = values if meaning == "minisblack" else ~values
        assert torch.equal(image.pixels[0], torch.from_numpy(white).float())


def test_white_is_zero_needs_unsigned_integers(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 4), np.float32), photometric="miniswhite")
    with pytest.raises(InputError, match="0 is white though its numbers are float32"):
        read_image(tmp_path / "a.tif")


def test_colours_that_jpeg_keeps_as_luminance_are_read(tmp_path):
    flat = np.tile(np.array([200, 100, 50], np.uint8), (16, 16, 1))
    tifffile.imwrite(
        tmp_path / "a.tif", flat, photometric="rgb", compression="jpeg", subsampling=(2, 2)
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].photometric.name == "YCBCR"
    read = read_image(tmp_path / "a.tif").pixels.numpy() * 255
    np.testing.assert_allclose(read, flat.transpose(2, 0, 1), atol=3)


SCALE, TIE = (10.0, 10.0, 0.0), (0.0, 0.0, 0.0, 4.0e5, 5.6e6, 0.0)
KEYS = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32632)
PLACE = [
    (33550, 12, 3, SCALE, True),
    (33922, 12, 6, TIE, True),
    (34735, 3, 12, KEYS, True),
    (34737, 2, 0, "WGS 84 / UTM zone 32N|", True),
]


def test_a_geotiff_stays_where_it_lies(tmp_path: Path) -> None:
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(source, np.full((16, 20), 0.5, np.float32), extratags=PLACE)
    image = read_image(source)
    write_image(target, image.with_pixels(image.pixels + 0.1))
    with tifffile.TiffFile(target) as tiff:
        tags = tiff.pages[0].tags
        assert tags.valueof(33550) == SCALE
        assert tags.valueof(33922) == TIE
        assert tags.valueof(34735) == KEYS
        assert str(tags.valueof(34737)).startswith("WGS 84 / UTM zone 32N|")
    smaller = image.with_pixels(image.pixels[:, :8, :8])
    assert smaller.place == ()
    write_image(target, smaller)
    with tifffile.TiffFile(target) as tiff:
        assert tiff.pages[0].tags.get(33550) is None


def test_numbers_that_stand_for_missing_pixels_are_missing(tmp_path: Path) -> None:
    """-9999 among elevations: refused where nothing is missing, NaN where something may be."""
    source = tmp_path / "a.tif"
    values = np.full((16, 20), 0.5, np.float32)
    values[3, 4] = -9999
    nodata = [(42113, 2, 0, "-9999", True)]
    tifffile.imwrite(source, values, extratags=nodata)
    with pytest.raises(InputError, match="NaN"):
        read_image(source)
    missing = read_image(source, missing=True).missing
    assert missing is not None
    assert missing.nonzero().tolist() == [[0, 3, 4]]
    tifffile.imwrite(source, values.astype(np.int16), extratags=nodata)
    with pytest.raises(InputError, match=r"1 values that are .* missing by its tag"):
        read_image(source)
    image = read_image(source, missing=True)
    assert image.missing is not None
    assert image.missing.nonzero().tolist() == [[0, 3, 4]]
    assert float(image.pixels[0, 3, 4]) == 0.0
    tifffile.imwrite(source, np.zeros((16, 20), np.uint8), extratags=[(42113, 2, 0, "255", True)])
    assert read_image(source).pixels.max() == 0.0


def test_opacity_is_never_missing_and_a_mask_may_be(tmp_path: Path) -> None:
    clear, mask = tmp_path / "a.tif", tmp_path / "mask.tif"
    values = np.full((16, 20, 4), 200, np.uint8)
    values[:4, :, 3] = 0
    zero = [(42113, 2, 0, "0", True)]
    tifffile.imwrite(clear, values, photometric="rgb", extrasamples=[2], extratags=zero)
    assert read_image(clear).missing is None
    known = np.full((16, 20), 255, np.uint8)
    known[3:7, 4:9] = 0
    tifffile.imwrite(mask, known, extratags=zero)
    found = mask_from_text(str(mask))
    assert isinstance(found, FixedMask)
    assert int((found.values == 0).sum()) == 20


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_letters_beyond_ascii_are_kept(tmp_path: Path, encoding: str) -> None:
    """Whatever a file calls its coordinates, another program reads it as it did before."""
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    text = "Système géodésique|".encode(encoding)
    tifffile.imwrite(source, np.zeros((16, 20), np.float32), extratags=[(34737, 2, 0, text, True)])
    write_image(target, read_image(source))
    with tifffile.TiffFile(target) as tiff:
        assert tiff.pages[0].tags.valueof(34737) == "Système géodésique|"
