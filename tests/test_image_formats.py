"""What other programs write: integers of all widths, BMP, PGM, resolution, sizes that are lies."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

from equipoise.errors import InputError
from equipoise.images import Depth, Resolution, read_image, write_image

RNG = np.random.default_rng(1)


def numbers(shape: tuple[int, ...], most: int = 255, dtype: str = "uint8") -> np.ndarray:
    return RNG.integers(0, most, shape, endpoint=True).astype(dtype)


def planes(values: np.ndarray, white: float) -> np.ndarray:
    """Stored values (H, W, C) as an image has them."""
    return values.transpose(2, 0, 1).astype(np.float64) / white


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "white"),
    [
        *(("bool", 1), ("uint8", 255), ("int8", 127), ("uint16", 65535), ("int16", 32767)),
        *((kind, 1) for kind in ("uint32", "int32", "int64", "uint64", "float16", "float64")),
    ],
)
def test_numbers_of_16_bits_are_shares_of_white_and_wider_ones_are_kept(tmp_path, dtype, white):
    values = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    if dtype != "bool":
        values[0, 0] = 100
    for name in ("a.npy", "a.tif"):
        if name == "a.npy":
            np.save(tmp_path / name, values)
        else:
            tifffile.imwrite(tmp_path / name, values)
        image = read_image(tmp_path / name)
        np.testing.assert_allclose(image.pixels[0].numpy(), values / white, rtol=1e-7)
        again = tmp_path / f"again{Path(name).suffix}"
        write_image(again, image)
        stored = np.load(again) if name == "a.npy" else tifffile.imread(again)
        if dtype == "bool":  # truth values have no room for what is restored
            values, dtype, white = values * np.uint8(255), "uint8", 255
        assert stored.dtype == dtype
        np.testing.assert_array_equal(stored, values)


def test_wide_integers_are_rounded_and_clipped_when_they_are_written(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[3, 70000, 5]], np.uint32))
    image = read_image(tmp_path / "a.npy")
    changed = image.with_pixels(torch.tensor([[[2.6, -1.0, 2.0**40]]]).double())
    write_image(tmp_path / "b.npy", changed)
    assert np.load(tmp_path / "b.npy").tolist() == [[3, 0, 2**32 - 1]]
    np.save(tmp_path / "h.npy", np.array([[1.0]], np.float16))
    with pytest.raises(InputError, match="1 values that are NaN or infinite"):
        write_image(
            tmp_path / "i.npy",
            read_image(tmp_path / "h.npy").with_pixels(torch.full((1, 1, 1), 1e5)),
        )


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_arrays_are_two_channels(tmp_path, dtype):
    values = (RNG.normal(size=(4, 5)) + 1j * RNG.normal(size=(4, 5))).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    image = read_image(tmp_path / "a.npy")
    np.testing.assert_array_equal(image.pixels.numpy(), np.stack([values.real, values.imag]))
    write_image(tmp_path / "b.npy", image)
    again = np.load(tmp_path / "b.npy")
    assert again.dtype == values.dtype
    np.testing.assert_array_equal(again, values)


def test_numpy_files_of_several_bands(tmp_path):
    values = RNG.normal(size=(5, 20, 21)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    image = read_image(tmp_path / "a.npy")
    assert (tuple(image.pixels.shape), image.axes) == ((5, 20, 21), "CHW")
    write_image(tmp_path / "b.npy", image)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), values)


@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_nan_is_missing_where_that_is_asked_for(tmp_path, suffix):
    values = RNG.normal(size=(4, 5, 3)).astype(np.float32)
    holes = np.zeros((4, 5), bool)
    holes[1, 2] = holes[3, 0] = True
    values[1, 2, 0] = values[3, 0] = np.nan
    file = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(file, values)
    else:
        tifffile.imwrite(file, values, photometric="rgb")
    with pytest.raises(InputError, match=r"4 values that are NaN.*missing=True"):
        read_image(file)
    image = read_image(file, missing=True)
    assert torch.equal(image.missing, torch.from_numpy(holes)[None])
    expected = np.where(holes, 0, values.transpose(2, 0, 1))
    np.testing.assert_array_equal(image.pixels.numpy(), expected)


def test_infinite_numbers_and_nothing_but_nan_are_always_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.inf, np.nan]]))
    with pytest.raises(InputError, match=r"1 values that are NaN or infinite\.$"):
        read_image(tmp_path / "a.npy", missing=True)
    np.save(tmp_path / "a.npy", np.full((2, 2), np.nan))
    with pytest.raises(InputError, match="nothing but NaN"):
        read_image(tmp_path / "a.npy", missing=True)
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    assert read_image(tmp_path / "a.npy", missing=True).missing is None


# ---- BMP, PGM, PPM -------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("white", [1, 100, 255, 1000, 4095, 65535])
def test_pgm_and_ppm(tmp_path, channels, white):
    values = numbers((5, 7, channels), white, "uint8" if white < 256 else "uint16")
    values[0, 0] = white
    magic = b"P5" if channels == 1 else b"P6"
    head = magic + b" # written by hand\n7\t5\n#next\n%d\n" % white
    wide = values.astype(">u2" if white > 255 else np.uint8)
    file = tmp_path / ("a.pgm" if channels == 1 else "a.ppm")
    file.write_bytes(head + wide.tobytes())
    image = read_image(file)
    assert image.depth is (Depth.UINT8 if white < 256 else Depth.UINT16)
    np.testing.assert_allclose(image.pixels.numpy(), planes(values, white), atol=1e-7)
    write_image(tmp_path / "b.png", image)
    shown = read_image(tmp_path / "b.png").pixels.numpy()
    np.testing.assert_allclose(shown, image.pixels.numpy(), atol=0.51 / image.depth.maximum)
    text = magic.replace(b"5", b"2").replace(b"6", b"3").decode() + f" 7 5 {white} "
    file.write_text(text + " ".join(str(v) for v in values.ravel()))
    if channels == 1 or white == 255:  # Pillow has plain colour in 8 bits
        again = read_image(file).pixels.numpy()
        np.testing.assert_allclose(again, image.pixels.numpy(), atol=0.51 / 255)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"P5 7 5 255\n" + bytes(34), "truncated, damaged"),
        (b"P5 7 5 65536\n" + bytes(70), "1 to 65535"),
        (b"P5 7 5 10\n" + bytes([11] * 35), "above its largest"),
        (b"P5 7 0 10\n", "without pixels"),
        (b"P5 -7 5 10\n" + bytes(35), "no header"),
        (b"P5 900000000 900000000 255\n" + bytes(35), "cannot be in"),
    ],
)
def test_damaged_pgm(tmp_path, content, words):
    (tmp_path / "a.pgm").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_image(tmp_path / "a.pgm")


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_bmp(tmp_path, mode):
    picture = PIL.Image.fromarray(numbers((5, 7, 3))).convert(mode)
    picture.save(tmp_path / "a.bmp")
    expected = np.asarray(picture.convert("L" if mode in "L1" else "RGB")) / 255
    read = read_image(tmp_path / "a.bmp").pixels.numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(read.reshape(expected.shape), expected, atol=1e-7)


def test_the_content_says_the_format_not_the_name(tmp_path):
    PIL.Image.fromarray(numbers((5, 7))).save(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").rename(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").pixels.shape == (1, 5, 7)
    PIL.Image.fromarray(numbers((5, 7))).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match="by its content"):
        read_image(tmp_path / "a.png")


def test_of_several_pictures_in_a_jpeg_the_first_is_the_photograph(tmp_path):
    first, second = (PIL.Image.fromarray(numbers((16, 16))) for _ in range(2))
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second], quality=95)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    first.save(tmp_path / "b.jpg", quality=95)
    assert torch.equal(read_image(tmp_path / "a.jpg").pixels, read_image(tmp_path / "b.jpg").pixels)


# ---- resolution and colour profile ---------------------------------------------------------------


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3)])
def test_png_keeps_dots_per_inch_and_profile(tmp_path, depth, shape):
    values = numbers(shape, np.iinfo(depth).max, depth)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        photometric="rgb" if len(shape) == 3 else "minisblack",
        resolution=(300, 150),
        resolutionunit="inch",
        iccprofile=b"a profile " * 30,
    )
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.tif"))
    write_image(tmp_path / "c.png", read_image(tmp_path / "b.png"))
    for name in ("b.png", "c.png"):
        with PIL.Image.open(tmp_path / name) as picture:
            assert picture.info["dpi"] == pytest.approx((300, 150), rel=1e-4)
            assert picture.info["icc_profile"] == b"a profile " * 30
    again = np.rint(read_image(tmp_path / "c.png").pixels.numpy() * np.iinfo(depth).max)
    np.testing.assert_array_equal(again.transpose(1, 2, 0).reshape(shape), values)


def test_jpeg_gives_its_dots_per_inch_and_profile_to_png(tmp_path):
    picture = PIL.Image.fromarray(numbers((8, 8, 3)))
    picture.save(tmp_path / "a.jpg", dpi=(72, 72), icc_profile=b"a profile")
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.jpg"))
    with PIL.Image.open(tmp_path / "b.png") as written:
        assert written.info["dpi"] == pytest.approx((72, 72), rel=1e-3)
        assert written.info["icc_profile"] == b"a profile"


def test_tiff_keeps_resolution_and_profile(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        numbers((6, 7)),
        resolution=(1000.5, 250),
        resolutionunit="centimeter",
        iccprofile=b"a profile",
    )
    write_image(tmp_path / "b.tif", read_image(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "a.tif") as a, tifffile.TiffFile(tmp_path / "b.tif") as b:
        for name in ("XResolution", "YResolution", "ResolutionUnit"):
            old, new = (tiff.pages[0].tags.valueof(name) for tiff in (a, b))
            assert np.divide(*old) == np.divide(*new) if isinstance(old, tuple) else old == new
        assert b.pages[0].iccprofile == b"a profile"


def test_pixel_sizes_of_imagej_and_ome_become_tags(tmp_path):
    values = numbers((6, 7), 65535, "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif", values, imagej=True, resolution=(4, 2), metadata={"unit": "um"}
    )
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5}
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        values,
        ome=True,
        metadata={"axes": "YX", "PhysicalSizeYUnit": "µm", **sizes},
    )
    for name in ("a.tif", "a.ome.tif"):
        image = read_image(tmp_path / name)
        write_image(tmp_path / "b.tif", image)
        with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
            tags = tiff.pages[0].tags
            assert np.divide(*tags.valueof("XResolution")) == pytest.approx(40_000)
            assert np.divide(*tags.valueof("YResolution")) == pytest.approx(20_000)
            assert int(tags.valueof("ResolutionUnit")) == 3  # centimetres


def test_a_turned_image_has_its_resolutions_exchanged(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        numbers((6, 7)),
        resolution=(300, 150),
        resolutionunit="inch",
        extratags=[(274, "H", 1, 6, True)],
    )
    image = read_image(tmp_path / "a.tif")
    assert image.pixels.shape == (1, 7, 6)
    assert image.resolution == Resolution(150, 300, "inch")


def test_what_belongs_to_pixels_goes_with_another_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        numbers((6, 7, 5)),
        photometric="rgb",
        extrasamples=[0, 2],
        resolution=(300, 150),
        iccprofile=b"a profile",
    )
    image = read_image(tmp_path / "a.tif")
    same, other = image.with_pixels(image.pixels / 2), image.with_pixels(torch.ones(4, 8, 9))
    assert (same.alpha is image.alpha, same.resolution) == (True, image.resolution)
    assert (other.alpha, other.resolution, other.profile) == (None, None, b"a profile")
    write_image(tmp_path / "b.tif", other)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tuple(tiff.pages[0].extrasamples) == (0,)
        assert tiff.pages[0].shape == (8, 9, 4)


# ---- sizes ---------------------------------------------------------------------------------------


def test_pillows_limit_of_pixels_is_not_ours(tmp_path, monkeypatch):
    values = numbers((20, 30))
    PIL.Image.fromarray(values).save(tmp_path / "a.png")
    PIL.Image.fromarray(values).save(tmp_path / "a.bmp")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PIL.Image.DecompressionBombError):
        PIL.Image.open(tmp_path / "a.png")
    for name in ("a.png", "a.bmp"):
        read = read_image(tmp_path / name).pixels[0].numpy()
        np.testing.assert_allclose(read, values / 255, atol=1e-7)


def test_more_than_can_be_read_is_refused_before_it_is(tmp_path, monkeypatch):
    import equipoise.images.decoded as decoded

    write = {
        "a.png": lambda file: PIL.Image.fromarray(numbers((20, 30))).save(file),
        "a.tif": lambda file: tifffile.imwrite(file, numbers((20, 30))),
        "a.npy": lambda file: np.save(file, numbers((20, 30))),
        "a.pgm": lambda file: file.write_bytes(b"P5 30 20 255\n" + bytes(600)),
    }
    monkeypatch.setattr(decoded, "MOST_NUMBERS", 599)
    for name, make in write.items():
        make(tmp_path / name)
        with pytest.raises(InputError, match="cut it into parts"):
            read_image(tmp_path / name)


def npy(shape: str) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", npy("(1000000, 1000000000)") + bytes(9)),
        ("a.npy", npy("(1, 40000)") + bytes(9)),
        ("a.npy", npy("(-1, 4)") + bytes(9)),
        ("a.npy", npy("(" * 3000) + bytes(9)),
        ("a.npy", npy("[1, 2]") + bytes(9)),
        ("a.npy", npy("(True, 9)") + bytes(1)),
        ("a.bmp", b"BM" + bytes(100)),
    ],
)
def test_headers_that_lie_are_plain_errors(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


def test_tiff_of_a_size_that_it_cannot_hold(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers((20, 30)), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(60000)
        tiff.pages[0].tags["ImageLength"].overwrite(60000)
    with pytest.raises(InputError, match="cannot be in"):
        read_image(tmp_path / "a.tif")
