"""Restoring files from the command line: formats, what is never overwritten, reports."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from programs import Run, pattern, save_weights, solved

from equipoise.images import Depth, Image, read_image, write_image
from equipoise.problems import denoise
from equipoise.regularizers import Scaled, build, save_regularizer

GRAY = torch.from_numpy(pattern(20)).float()[None]
COLOUR = torch.cat([GRAY, 0.8 * GRAY, GRAY.flip(1)])
ALPHA = torch.linspace(0, 1, 400).reshape(1, 20, 20)

#: What restoring an image does not need, of ours and of others.
NEEDLESS = (
    *("equipoise.certify", "equipoise.compare.run", "equipoise.learn", "equipoise.report"),
    *("equipoise.study.run", "equipoise.testing"),
    *(
        "imagecodecs",
        "matplotlib",
        "pandas",
        "scipy",
        "skimage",
        "tifffile",
        "torchmetrics",
        "yaml",
    ),
)

#: File name -> image; JPEG is written by Pillow below.
FILES = {
    "gray8.png": Image(GRAY, None, Depth.UINT8),
    "gray8-alpha.png": Image(GRAY, ALPHA, Depth.UINT8),
    "colour8.png": Image(COLOUR, None, Depth.UINT8),
    "colour8-alpha.png": Image(COLOUR, ALPHA, Depth.UINT8),
    "gray16.png": Image(GRAY, None, Depth.UINT16),
    "colour16-alpha.png": Image(COLOUR, ALPHA, Depth.UINT16),
    "colour8-alpha.tif": Image(COLOUR, ALPHA, Depth.UINT8),
    "gray16.tiff": Image(GRAY, None, Depth.UINT16),
    "colour-float.tif": Image(COLOUR, None, Depth.FLOAT32),
    "gray-float.npy": Image(GRAY, None, Depth.FLOAT32, "HW"),
    "colour-double.npy": Image(COLOUR.double(), None, Depth.FLOAT64, "CHW"),
    "colour-last.npy": Image(COLOUR, None, Depth.FLOAT32, "HWC"),
}


@pytest.fixture
def gray(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    write_image(file, FILES["gray8.png"])
    return file


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_format_keeps_its_depth_and_alpha(run: Run, weights: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in FILES]
    for file in files:
        write_image(file, FILES[file.name])
    before = [digest(file) for file in files]
    result = run("reconstruct", *files, "--weights", weights, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert [digest(file) for file in files] == before
    for file in files:
        restored = tmp_path / "out" / f"{file.stem}_restored{file.suffix}"
        source, image = read_image(file), read_image(restored)
        assert (image.depth, image.axes) == (source.depth, source.axes)
        assert (image.alpha is None) == (source.alpha is None)
        if source.alpha is not None and image.alpha is not None:
            assert torch.equal(image.alpha, source.alpha)
        expected = solved(weights, source.pixels.float())
        if image.depth.maximum is not None:
            expected = expected.clamp(0, 1)
        step = 1.0 / (image.depth.maximum or 10**5)
        assert float((image.pixels.float() - expected).abs().max()) < 0.51 * step + 1e-6
        assert float((image.pixels - source.pixels).abs().max()) > 0.01
        assert restored.name in result.stdout
    assert result.stdout.count("converged") == len(files)


def test_bands_of_a_tiff_are_restored_one_by_one(run: Run, weights: Path, tmp_path: Path) -> None:
    bands = torch.cat([COLOUR, 1 - GRAY])
    for name, pixels, extra in (("nir.tif", bands, (0,)), ("two.tif", bands[2:], (0,))):
        write_image(tmp_path / name, Image(pixels, None, Depth.UINT16, extra=extra))
        assert run("reconstruct", tmp_path / name, "--weights", weights).exit_code == 0
        restored = read_image(tmp_path / name.replace(".", "_restored."))
        assert (restored.extra, restored.alpha, restored.depth) == (extra, None, Depth.UINT16)
        expected = torch.cat([solved(weights, band[None]) for band in pixels])
        assert float((restored.pixels - expected.clamp(0, 1)).abs().max()) < 1e-3


def test_complex_images_are_restored_as_two_channels(
    run: Run, weights: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "mri.npy", (GRAY[0] + 1j * GRAY[0].flip(1)).numpy())
    assert run("reconstruct", tmp_path / "mri.npy", "--weights", weights).exit_code == 0
    restored = np.load(tmp_path / "mri_restored.npy")
    assert restored.dtype == np.complex64
    for part, pixels in ((restored.real, GRAY), (restored.imag, GRAY.flip(2))):
        assert np.allclose(part, solved(weights, pixels)[0].numpy(), atol=1e-3)


def test_jpeg_becomes_png_next_to_it(run: Run, weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    PIL.Image.fromarray(np.rint(255 * pattern(20)).astype(np.uint8)).save(file, quality=95)
    before = digest(file)
    assert run("reconstruct", file, "--weights", weights).exit_code == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == ["photo.jpg", "photo_restored.png"]
    assert digest(file) == before


def test_existing_outputs_are_replaced_only_on_request(run: Run, weights: Path, gray: Path) -> None:
    there = gray.with_name("photo_restored.png")
    there.write_bytes(b"precious")
    result = run("reconstruct", gray, "--weights", weights)
    assert result.exit_code == 2
    assert str(there) in result.stderr
    assert there.read_bytes() == b"precious"
    assert run("reconstruct", gray, "--weights", weights, "--overwrite").exit_code == 0
    assert read_image(there).pixels.shape == (1, 20, 20)


def test_no_output_replaces_an_input(run: Run, weights: Path, gray: Path) -> None:
    other = gray.with_name("photo_restored.png")
    write_image(other, FILES["gray8.png"])
    before = digest(other)
    result = run("reconstruct", gray, other, "--weights", weights, "--overwrite")
    assert result.exit_code == 2
    assert "is an input" in result.stderr
    assert digest(other) == before


def test_inputs_with_one_output_are_refused(run: Run, weights: Path, gray: Path) -> None:
    twin = gray.with_suffix(".jpg")
    PIL.Image.open(gray).save(twin)
    result = run("reconstruct", gray, twin, "--weights", weights)
    assert result.exit_code == 2
    assert "photo_restored.png" in result.stderr
    assert not gray.with_name("photo_restored.png").exists()


def test_simulation_degrades_restores_and_compares(run: Run, tmp_path: Path) -> None:
    smoothing = Scaled(build("tikhonov", operator="gradient"), strength=0.3)
    weights = tmp_path / "tikhonov.safetensors"
    save_regularizer(weights, smoothing, {"task": {"task": "denoise", "noise": 0.05}})
    file = tmp_path / "truth.npy"
    np.save(file, GRAY[0].numpy())
    words = ("reconstruct", file, "--weights", weights, "--simulate", "--noise", 0.2)
    result = run(*words, "--seed", 3, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.stderr
    problem = denoise((1, 20, 20), sigma=0.2)
    y = problem.measure(GRAY[None], torch.Generator().manual_seed(3))
    degraded = np.load(tmp_path / "a" / "truth_degraded.npy")
    np.testing.assert_allclose(degraded, y[0, 0].numpy(), atol=1e-6)
    before = 10 * np.log10(1 / np.mean((degraded - GRAY[0].numpy()) ** 2))
    restored = np.load(tmp_path / "a" / "truth_restored.npy")
    after = 10 * np.log10(1 / np.mean((restored - GRAY[0].numpy()) ** 2))
    assert f"{before:.2f} to {after:.2f}" in result.stdout
    assert after > before
    run(*words, "--seed", 4, "--out", tmp_path / "b")
    assert not np.allclose(np.load(tmp_path / "b" / "truth_degraded.npy"), degraded)


def test_record_says_the_task_and_options_change_it(run: Run, tmp_path: Path) -> None:
    file, kernel = tmp_path / "truth.npy", "gaussian:0.7"
    np.save(file, GRAY[0].numpy())
    weights = save_weights(tmp_path / "deblur.safetensors", "deblur", kernel=kernel)
    words = ("reconstruct", file, "--weights", weights, "--simulate", "--noise", 0)
    out = [tmp_path / name for name in "abc"]
    assert run(*words, "--out", out[0]).exit_code == 0
    assert run(*words, "--kernel", kernel, "--out", out[1]).exit_code == 0
    assert run(*words, "--kernel", "motion:5", "--out", out[2]).exit_code == 0
    a, b, c = (np.load(folder / "truth_degraded.npy") for folder in out)
    assert np.array_equal(a, b)
    assert not np.allclose(a, c, atol=1e-2)


def test_integer_images_are_no_sinograms_but_may_be_measured(
    run: Run, tmp_path: Path, gray: Path
) -> None:
    weights = save_weights(tmp_path / "ct.safetensors", "tomography", angles="9")
    result = run("reconstruct", gray, "--weights", weights)
    assert result.exit_code == 3
    assert "--simulate" in result.stderr
    assert run("reconstruct", gray, "--weights", weights, "--simulate").exit_code == 0
    assert read_image(tmp_path / "photo_degraded.png").pixels.shape == (1, 20, 20)


def test_options_from_a_file_and_notes_on_them(run: Run, tmp_path: Path, gray: Path) -> None:
    weights = save_weights(tmp_path / "w.safetensors", "deblur")
    kernel, config = tmp_path / "kernel.npy", tmp_path / "options.yaml"
    np.save(kernel, np.ones((2, 3)))
    config.write_text(
        f"weights: {weights}\nkernel: {kernel}\nsimulate: true\nout: {tmp_path / 'a'}\nseed: 5\n"
    )
    result = run("reconstruct", gray, "--config", config, "--out", tmp_path / "b")
    assert result.exit_code == 0, result.stderr
    assert {file.name for file in (tmp_path / "b").iterdir()} == {
        "photo_restored.png",
        "photo_degraded.png",
    }
    assert not (tmp_path / "a").exists()
    assert result.stdout.count("padded with zeros to 3 x 3") == 1


def test_blur_without_border_gives_a_larger_image(run: Run, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "w.safetensors", "deblur", kernel="motion:5")
    opaque, clear = tmp_path / "opaque.png", tmp_path / "clear.png"
    write_image(opaque, FILES["gray8.png"])
    write_image(clear, FILES["gray8-alpha.png"])
    words = ("--weights", weights)
    assert run("reconstruct", opaque, *words).exit_code == 0
    assert read_image(tmp_path / "opaque_restored.png").pixels.shape == (1, 20, 24)
    result = run("reconstruct", clear, *words)
    assert result.exit_code == 3
    assert "alpha" in result.stderr
    assert not (tmp_path / "clear_restored.png").exists()


def test_coarser_measurements_are_restored_on_the_finer_grid(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "coarse_operator.py").write_text(
        "import deepinv\n"
        "def coarse(shape):\n"
        "    return deepinv.physics.Downsampling(img_size=shape, factor=2, filter='gaussian')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    weights = save_weights(tmp_path / "w.safetensors", "physics", physics="coarse_operator:coarse")
    np.save("small.npy", GRAY[0].numpy())
    words = ("--physics", "coarse_operator:coarse")
    result = run("reconstruct", "small.npy", "--weights", weights, *words)
    assert result.exit_code == 0, result.stderr
    assert np.load("small_restored.npy").shape == (40, 40)


def test_known_pixels_must_be_said(run: Run, tmp_path: Path, gray: Path) -> None:
    weights = save_weights(tmp_path / "w.safetensors", "inpaint", mask="0.5")
    result = run("reconstruct", gray, "--weights", weights)
    assert result.exit_code == 2
    assert "--mask IMAGE" in result.stderr
    mask = tmp_path / "mask.png"
    known = (np.arange(400).reshape(20, 20) % 3 > 0).astype(np.uint8) * 255
    PIL.Image.fromarray(known).save(mask)
    result = run("reconstruct", gray, "--weights", weights, "--mask", mask)
    assert result.exit_code == 0, result.stderr
    PIL.Image.fromarray(known[:-1]).save(mask)
    result = run("reconstruct", gray, "--weights", weights, "--mask", mask, "--overwrite")
    assert result.exit_code == 3
    assert "mask" in result.stderr


def test_help_says_what_masks_and_kernels_are(run: Run) -> None:
    printed = " ".join(run("reconstruct", "--help").stdout.replace("│", " ").split())
    assert "white pixels are known, those of one other colour missing" in printed
    assert "a convolution, centre at (h // 2, w // 2) as in scipy.ndimage" in printed


def test_no_convergence_is_code_4_and_the_image_is_there(
    run: Run, weights: Path, gray: Path
) -> None:
    result = run(
        "reconstruct", gray, "--weights", weights, "--max-evaluations", 2, "--tolerance", 1e-6
    )
    assert result.exit_code == 4
    assert "iteration limit" in result.stdout
    assert "allow more evaluations" in result.stderr
    assert str(gray) in result.stderr
    assert read_image(gray.with_name("photo_restored.png")).pixels.shape == (1, 20, 20)


def test_error_bound_is_shown_where_it_holds(run: Run, tmp_path: Path, gray: Path) -> None:
    bounds = {}
    for name, config in (("tikhonov", {}), ("untied-conv", {"filters": 2, "kernel_size": 3})):
        torch.manual_seed(0)
        field = build(name, **config)
        for parameter in field.parameters():  # away from the tied pair that it may start at
            torch.nn.init.normal_(parameter)
        path = tmp_path / f"{name}.safetensors"
        save_regularizer(path, Scaled(field, strength=30.0), {})
        result = run("reconstruct", gray, "--weights", path, "--out", tmp_path / name)
        bounds[name] = "no bound" not in result.stdout
    assert bounds == {"tikhonov": True, "untied-conv": False}


def test_bad_files_are_found_before_any_work(run: Run, weights: Path, gray: Path) -> None:
    broken = gray.with_name("broken.png")
    broken.write_bytes(gray.read_bytes()[:60])
    result = run("reconstruct", gray, broken, "--weights", weights)
    assert result.exit_code == 3
    assert "broken.png" in result.stderr
    assert not gray.with_name("photo_restored.png").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--task", "denois"), 2, "'denoise'"),
        (("--padding", "vald"), 2, "valid"),
        (("--size", "9"), 2, "--task tomography"),
        (("--sinogram", "sums"), 2, "--task tomography"),
        (("--data-range", "white"), 2, "-1000:3000"),
        (("--data-range", "255:0"), 2, "larger number"),
        (("--padding", "valid"), 2, "--task deblur"),
        (("--kernel", "motion:5"), 2, "--task deblur"),
        (("--task", "deblur", "--kernel", "motion:50"), 3, "larger than the image"),
        (("--alpha", -1), 2, "greater than 0"),
        (("--alpha", 0), 2, "greater than 0"),
        (("--tolerance", 0), 2, "greater than 0"),
        (("--device", "gpu"), 2, "auto, cpu, cuda"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_options(
    run: Run, weights: Path, gray: Path, words: tuple[object, ...], code: int, said: str
) -> None:
    result = run("reconstruct", gray, "--weights", weights, *words)
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert not gray.with_name("photo_restored.png").exists()


def test_bad_weights(run: Run, weights: Path, gray: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:100])
    for file in (tmp_path / "none.safetensors", cut, gray):
        result = run("reconstruct", gray, "--weights", file)
        assert result.exit_code == 3
        assert str(file) in result.stderr


def test_restoring_imports_nothing_that_it_does_not_need(weights: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", FILES["gray8.png"])
    words = ["reconstruct", str(tmp_path / "a.png"), "--weights", str(weights)]
    code = (
        "import sys\n"
        f"sys.argv = ['equipoise', *{words!r}]\n"
        "from equipoise.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as exit:\n    assert not exit.code, exit.code\n"
        f"found = [m for m in {NEEDLESS!r} if m in sys.modules]\n"
        "assert not found, found\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a_restored.png").exists()


def test_folders_of_images_and_of_masks(run: Run, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "holes.safetensors", "inpaint")
    scans, masks = tmp_path / "scans", tmp_path / "masks"
    scans.mkdir()
    masks.mkdir()
    known = {"a": np.indices((20, 20)).sum(0) % 2, "b": np.indices((20, 20))[0] % 3 > 0}
    for name, mask in known.items():
        write_image(scans / f"{name}.png", FILES["gray8.png"])
        PIL.Image.fromarray((255 * mask).astype(np.uint8)).save(masks / f"{name}.png")
    words = ("--weights", weights, "--mask", masks)
    assert run("reconstruct", scans, *words).exit_code == 0
    assert {file.name for file in scans.iterdir()} == {
        "a.png", "b.png", "a_restored.png", "b_restored.png",
    }  # fmt: skip
    for name in known:
        alone = ("--weights", weights, "--mask", masks / f"{name}.png", "--out", tmp_path / "o")
        assert run("reconstruct", scans / f"{name}.png", *alone).exit_code == 0
        expected = digest(tmp_path / "o" / f"{name}_restored.png")
        assert digest(scans / f"{name}_restored.png") == expected
    assert run("reconstruct", scans, *words, "--overwrite").exit_code == 0  # not of its results
    assert len(list(scans.iterdir())) == 4
    (masks / "b.png").unlink()
    result = run("reconstruct", scans, *words, "--overwrite")
    assert result.exit_code == 3
    assert "0 masks named 'b'" in result.stderr
    (tmp_path / "none").mkdir()
    assert run("reconstruct", tmp_path / "none", *words).exit_code == 3
    result = run("train", "--task", "inpaint", "--mask", masks, "--out", tmp_path / "w.safetensors")
    assert result.exit_code == 2
    assert "reconstruct only" in result.stderr
