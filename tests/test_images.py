"""Image files: what is read is what was written, in its own depth; broken files are refused."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile
import torch

from equipoise.errors import InputError, OutputError, UsageError
from equipoise.images import (
    Depth,
    Image,
    lossless_name,
    read_image,
    to_colour,
    to_gray,
    write_image,
)

RNG = np.random.default_rng(0)


def random_array(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if "int" in dtype:
        kind = np.iinfo(dtype)
        least, most = max(kind.min, -(2**53)), min(kind.max, 2**53)
        return RNG.integers(least, most, shape, dtype=dtype, endpoint=True)
    return RNG.normal(size=shape).astype(dtype)


def random_image(channels: int, depth: Depth, alpha: bool) -> tuple[Image, np.ndarray]:
    """An image that its depth holds exactly, and its stored values (H, W, C)."""
    values = random_array((7, 5, channels + alpha), depth)
    dtype = torch.float64 if depth is Depth.FLOAT64 else torch.float32
    planes = torch.from_numpy(values.astype(np.float64) / (depth.maximum or 1)).to(dtype)
    planes = planes.permute(2, 0, 1)
    return Image(planes[:channels], planes[channels:] if alpha else None, depth), values


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "depth"),
    [
        (".png", Depth.UINT8),
        (".png", Depth.UINT16),
        (".tif", Depth.UINT8),
        (".tif", Depth.UINT16),
        (".tif", Depth.FLOAT32),
        (".tif", Depth.FLOAT64),
    ],
)
def test_round_trip_keeps_depth_and_alpha(tmp_path, suffix, depth, channels, alpha):
    image, _ = random_image(channels, depth, alpha)
    file = tmp_path / f"image{suffix}"
    write_image(file, image)
    again = read_image(file)
    assert again.depth is depth
    assert torch.equal(again.pixels, image.pixels)
    if alpha:
        assert torch.equal(again.alpha, image.alpha)
    else:
        assert again.alpha is None
    assert [f.name for f in tmp_path.iterdir()] == [file.name]  # no temporary file stays


@pytest.mark.parametrize("depth", list(Depth))
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (2, 7, 5), (3, 7, 5), (1, 7, 5)])
def test_numpy_round_trip_keeps_layout(tmp_path, depth, shape):
    values = random_array(shape, depth)
    np.save(tmp_path / "a.npy", values)
    image = read_image(tmp_path / "a.npy")
    write_image(tmp_path / "b.npy", image)
    again = np.load(tmp_path / "b.npy")
    assert again.dtype == values.dtype
    np.testing.assert_array_equal(again, values)


def reference_png16(values: np.ndarray, kinds: list[int], colour: int) -> bytes:
    """Encode with the given row filters, byte by byte as the PNG specification writes them."""
    height, width, channels = values.shape
    step = 2 * channels
    raw = [row.astype(">u2").tobytes() for row in values]
    above = bytes(width * step)
    data = bytearray()
    for row, kind in zip(raw, kinds, strict=True):
        data.append(kind)
        for i, byte in enumerate(row):
            a = row[i - step] if i >= step else 0
            b = above[i]
            c = above[i - step] if i >= step else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            data.append((byte - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
        above = row

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packed = zlib.compress(bytes(data))
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    middle = len(packed) // 2  # the pixels may come in several parts
    parts = (
        (b"IHDR", header),
        (b"IDAT", packed[:middle]),
        (b"IDAT", packed[middle:]),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def with_size(data: bytes, width: int, height: int) -> bytes:
    """The same PNG with another size in its header."""
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize(("channels", "colour"), [(2, 4), (3, 2), (4, 6)])
def test_16_bit_colour_png_with_every_row_filter(tmp_path, channels, colour):
    smooth = np.cumsum(RNG.integers(0, 900, (12, 9, channels)), axis=1).astype(np.uint16)
    values = np.concatenate([smooth, random_array((13, 9, channels), "uint16")])
    (tmp_path / "a.png").write_bytes(reference_png16(values, [*range(5)] * 5, colour))
    if channels > 2:  # Pillow reads the high bytes, which shows that the reference is right
        high = np.asarray(PIL.Image.open(tmp_path / "a.png"))
        np.testing.assert_array_equal(high, values >> 8)
    image = read_image(tmp_path / "a.png")
    planes = image.pixels if image.alpha is None else torch.cat([image.pixels, image.alpha])
    read = np.rint(planes.numpy().transpose(1, 2, 0) * 65535)
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_written_16_bit_png_is_read_by_an_independent_decoder(tmp_path, channels):
    image, values = random_image(min(channels, 3), Depth.UINT16, channels == 4)
    write_image(tmp_path / "a.png", image)
    decoded = np.asarray(PIL.Image.open(tmp_path / "a.png"))
    expected = values[:, :, 0] if channels == 1 else values >> 8
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data.replace(b"IDAT", b"IDAX"), "cannot be read"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "broken data stream"),
        (lambda data: reference_png16(np.zeros((2, 3, 3)), [0, 0], 6), "image file is truncated"),
        (lambda data: with_size(data, 200_000, 200_000), "cannot be in 285 bytes"),
    ],
)
def test_damaged_16_bit_colour_png(tmp_path, spoil, words):
    write_image(tmp_path / "a.png", random_image(3, Depth.UINT16, False)[0])
    (tmp_path / "a.png").write_bytes(spoil((tmp_path / "a.png").read_bytes()))
    with pytest.raises(InputError, match=words):
        read_image(tmp_path / "a.png")


def test_integers_are_divided_by_their_maximum(tmp_path):
    PIL.Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png").pixels, torch.tensor([[[0.0, 0.2, 1.0]]]))
    PIL.Image.fromarray(np.array([[0, 13107, 65535]], np.uint16)).save(tmp_path / "b.png")
    assert torch.equal(read_image(tmp_path / "b.png").pixels, torch.tensor([[[0.0, 0.2, 1.0]]]))


def test_floats_are_kept_outside_of_the_unit_interval(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-3.5, 7.25]], np.float32))
    assert read_image(tmp_path / "a.tif").pixels.tolist() == [[[-3.5, 7.25]]]


def test_integer_formats_clip_and_round(tmp_path):
    write_image(tmp_path / "a.png", Image(torch.tensor([[[-0.2, 0.4981, 1.3]]])))
    assert np.asarray(PIL.Image.open(tmp_path / "a.png")).tolist() == [[0, 127, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif = PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    with PIL.Image.open(tmp_path / "a.png") as stored:
        upright = np.asarray(PIL.ImageOps.exif_transpose(stored))
    read = np.rint(read_image(tmp_path / "a.png").pixels[0].numpy() * 255)
    np.testing.assert_array_equal(read, upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_tiffs_and_deep_png_is_applied(tmp_path, orientation):
    # The rules of the TIFF specification: where row 0 and column 0 of the file are.
    values = random_array((3, 4, 3), "uint8")
    upright = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.transpose(1, 0, 2),
        6: values[::-1].transpose(1, 0, 2),
        7: values[::-1, ::-1].transpose(1, 0, 2),
        8: values[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=tag)
    exif = PIL.Image.Exif()
    exif[274] = orientation
    pillow = PIL.Image.fromarray(values)
    pillow.save(tmp_path / "lzw.tif", compression="tiff_lzw", exif=exif)
    palette = pillow.quantize(256)
    palette.save(tmp_path / "palette.tif", exif=exif)
    assert (np.asarray(palette.convert("RGB")) == values).all()
    deep = reference_png16(values.astype(np.uint16) * 257, [0, 1, 4], 2)
    tags = exif.tobytes().removeprefix(b"Exif\x00\x00")
    body = b"eXIf" + tags
    chunk = struct.pack(">I", len(tags)) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "deep.png").write_bytes(deep[:33] + chunk + deep[33:])  # after the header
    for name in ("a.tif", "lzw.tif", "palette.tif", "deep.png"):
        read = np.rint(read_image(tmp_path / name).pixels.numpy() * 255).transpose(1, 2, 0)
        np.testing.assert_array_equal(read, upright, err_msg=name)


def test_palette_and_jpeg_and_bilevel_are_expanded(tmp_path):
    values = random_array((8, 8, 3), "uint8")
    palette = PIL.Image.fromarray(values).quantize(16)
    palette.save(tmp_path / "p.png")
    colours = np.asarray(palette.convert("RGB")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(read_image(tmp_path / "p.png").pixels.numpy(), colours, atol=1e-7)
    PIL.Image.fromarray(values).save(tmp_path / "j.jpg")
    assert read_image(tmp_path / "j.jpg").pixels.shape == (3, 8, 8)
    PIL.Image.fromarray(values[:, :, 0]).convert("1").save(tmp_path / "b.png")
    assert set(read_image(tmp_path / "b.png").pixels.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("fill", [256, 257])
def test_palettes_of_tiffs_are_read_by_their_high_bytes(tmp_path, fill):
    indices = random_array((6, 7), "uint8")
    colours = random_array((3, 256), "uint8")
    stored = colours.astype(np.uint16) * fill  # writers repeat the byte or leave the low one 0
    tifffile.imwrite(tmp_path / "p.tif", indices, photometric="palette", colormap=stored)
    read = np.rint(read_image(tmp_path / "p.tif").pixels.numpy() * 255)
    np.testing.assert_array_equal(read, colours[:, indices])


def test_tiff_with_a_codec_that_tifffile_lacks(tmp_path):
    values = random_array((8, 8, 3), "uint8")
    PIL.Image.fromarray(values).save(tmp_path / "a.tif", compression="tiff_lzw")
    read = read_image(tmp_path / "a.tif").pixels.permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(read, values, atol=1e-4)


def test_planar_and_inverted_tiff(tmp_path):
    values = random_array((3, 8, 9), "uint16")
    tifffile.imwrite(tmp_path / "p.tif", values, photometric="rgb", planarconfig="separate")
    read = read_image(tmp_path / "p.tif").pixels.numpy()
    np.testing.assert_allclose(read, values / 65535, atol=1e-7)
    tifffile.imwrite(tmp_path / "w.tif", values[0], photometric="miniswhite")
    read = read_image(tmp_path / "w.tif").pixels.numpy()
    np.testing.assert_allclose(read[0], 1 - values[0] / 65535, atol=1e-7)


def cmyk(file: Path) -> None:
    PIL.Image.new("CMYK", (4, 4)).save(file.with_suffix(".jpg"))
    file.with_suffix(".jpg").rename(file)


def several_pages(file: Path) -> None:
    tifffile.imwrite(file, np.zeros((5, 4, 4), np.uint8), photometric="minisblack")


def truncated_png(file: Path) -> None:
    PIL.Image.fromarray(random_array((64, 64), "uint8")).save(file)
    file.write_bytes(file.read_bytes()[:2000])


def truncated_png16(file: Path) -> None:
    write_image(file, random_image(3, Depth.UINT16, False)[0])
    file.write_bytes(file.read_bytes()[:120])


def truncated_tiff(file: Path) -> None:
    tifffile.imwrite(file, random_array((64, 64), "uint8"))
    file.write_bytes(file.read_bytes()[:2000])


def truncated_npy(file: Path) -> None:
    np.save(file, random_array((64, 64), "uint8"))
    file.write_bytes(file.read_bytes()[:2000])


def truncated_jpeg(file: Path) -> None:
    PIL.Image.fromarray(random_array((64, 64), "uint8")).save(file)
    file.write_bytes(file.read_bytes()[:1500])


def nan_pixels(file: Path) -> None:
    np.save(file, np.array([[0.0, np.nan], [np.inf, 1.0]]))


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("missing.png", lambda file: None, "no image file"),
        ("a.gif", lambda file: file.write_bytes(b"GIF"), "not a supported image"),
        ("empty.png", lambda file: file.write_bytes(b""), "empty"),
        ("text.png", lambda file: file.write_text("no image"), "by its content"),
        ("text.tif", lambda file: file.write_text("no image"), "truncated, damaged"),
        ("cut.png", truncated_png, "truncated, damaged"),
        ("cut16.png", truncated_png16, "truncated, damaged"),
        ("cut.jpg", truncated_jpeg, "truncated, damaged"),
        ("cut.tif", truncated_tiff, "truncated, damaged"),
        ("cut.npy", truncated_npy, "truncated, damaged"),
        ("cmyk.jpeg", cmyk, "CMYK"),
        ("pages.tif", several_pages, "5 pages"),
        ("nan.npy", nan_pixels, "2 values that are NaN or infinite"),
        ("4d.npy", lambda file: np.save(file, np.zeros((2, 3, 4, 5))), "shape"),
        ("many.npy", lambda file: np.save(file, np.zeros((9, 8, 7))), "shape"),
        ("none.npy", lambda file: np.save(file, np.zeros((0, 8))), "without pixels"),
        ("many.npy", lambda file: np.save(file, np.zeros((17, 20, 20))), "shape"),
        ("large.npy", lambda file: np.save(file, np.array([[2**53 + 1]])), r"2\^53"),
        ("text.npy", lambda file: np.save(file, np.array([["a"]])), "of type str"),
        ("objects.npy", lambda file: np.save(file, np.array([[None]])), "damaged"),
    ],
)
def test_unusable_files_are_refused_by_name(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(InputError, match=words) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "image", "words"),
    [
        ("a.jpg", Image(torch.zeros(1, 4, 4)), "lose nothing"),
        ("a.png", Image(torch.zeros(1, 4, 4), depth=Depth.FLOAT32), "cannot hold float32"),
        ("a.png", Image(torch.zeros(1, 4, 4), depth=Depth.INT16), "cannot hold int16"),
        ("a.png", Image(torch.zeros(2, 4, 4)), "2 channels"),
        ("a.npy", Image(torch.zeros(1, 4, 4), torch.ones(1, 4, 4)), "no alpha"),
    ],
)
def test_formats_that_would_lose_something_are_refused(tmp_path, name, image, words):
    with pytest.raises(UsageError, match=words):
        write_image(tmp_path / name, image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_not_written(tmp_path, bad):
    with pytest.raises(InputError, match="1 values that are NaN or infinite"):
        write_image(tmp_path / "a.png", Image(torch.tensor([[[0.5, bad]]])))
    assert list(tmp_path.iterdir()) == []


def test_an_input_is_never_overwritten(tmp_path):
    source = tmp_path / "in.png"
    write_image(source, Image(torch.zeros(1, 4, 4)))
    before = source.read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(source)
    for target in (source, tmp_path / "." / "in.png", link):
        with pytest.raises(UsageError, match="is an input"):
            write_image(target, Image(torch.ones(1, 4, 4)), never=[source])
    assert source.read_bytes() == before
    write_image(tmp_path / "out.png", Image(torch.ones(1, 4, 4)), never=[source])
    assert (tmp_path / "out.png").exists()


def test_folders_are_made(tmp_path):
    write_image(tmp_path / "new" / "deep" / "a.png", Image(torch.zeros(1, 4, 4)))
    assert read_image(tmp_path / "new" / "deep" / "a.png").pixels.shape == (1, 4, 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="folder"):
        write_image(tmp_path / "file" / "a.png", Image(torch.zeros(1, 4, 4)))


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    write_image(target, Image(torch.zeros(1, 4, 4)))
    before = target.read_bytes()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        write_image(target, Image(torch.ones(1, 4, 4)))
    assert target.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]


def test_what_is_not_written_is_restored_as_png():
    for name in ("photo.JPG", "photo.bmp", "photo.pgm", "photo.ppm"):
        assert lossless_name(name) == Path("photo.png")
    assert lossless_name("scan.tif") == Path("scan.tif")


def test_gray_and_colour():
    from skimage.color import rgb2gray

    colour = torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = rgb2gray(colour.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(to_gray(colour)[0].numpy(), expected, atol=1e-12)
    gray = colour[:1]
    assert torch.equal(to_gray(gray), gray)
    assert torch.equal(to_colour(gray), gray.expand(3, 4, 5))
    assert torch.equal(to_colour(colour), colour)
    for convert in (to_gray, to_colour):
        with pytest.raises(InputError, match="1 or 3 channels"):
            convert(torch.zeros(2, 4, 5))


def test_three_bands_are_no_colour() -> None:
    pixels = torch.zeros(3, 4, 4)
    assert Image(pixels).is_colour
    assert not Image(pixels, extra=(0, 0)).is_colour
    assert not Image(pixels[:2], axes="complex").is_colour
