"""Measured files: sinograms, numbers of any range, their noise, missing pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from programs import Run, pattern, save_weights, solved
from skimage.transform import radon

from equipoise.images import Depth, Image, read_image, write_image
from equipoise.problems import denoise, tomography
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import load_regularizer
from equipoise.settings.data_range import data_range_from_text

GRAY = torch.from_numpy(pattern(20)).float()[None]
COLOUR = torch.cat([GRAY, 0.8 * GRAY, GRAY.flip(1)])
ALPHA = torch.linspace(0, 1, 400).reshape(1, 20, 20)


def test_sinograms_are_restored_to_the_square_that_they_measure(run: Run, tmp_path: Path) -> None:
    options = {"angles": "9", "unit_size": (16, 16)}
    weights = save_weights(tmp_path / "ct.safetensors", "tomography", **options)
    problem = tomography((1, 20, 20), 9, unit_size=(16, 16))
    y = problem.measure(GRAY[None], torch.Generator().manual_seed(0))
    file = tmp_path / "scan.npy"
    np.save(file, y[0, 0].numpy())
    words = ("--weights", weights, "--size", 20)
    result = run("reconstruct", file, *words, "--sinogram", "scaled")
    assert result.exit_code == 0, result.stderr
    assert "29 detectors, images of 20 x 20 pixels" in result.stdout
    restored = np.load(tmp_path / "scan_restored.npy")
    assert restored.shape == (20, 20)
    regularizer, _ = load_regularizer(weights)
    model = EquilibriumReconstructor(regularizer, options=SolveOptions(tolerance=2e-4))
    expected = model.solve(y, problem.physics, problem.start(y)).x[0, 0]
    assert np.allclose(restored, expected.numpy(), atol=1e-6)

    np.save(file, problem.physics.scale * y[0, 0].numpy())  # sums along rays, as they are measured
    assert run("reconstruct", file, *words, "--overwrite").exit_code == 0
    assert np.allclose(np.load(tmp_path / "scan_restored.npy"), restored, atol=2e-3)

    truth = tmp_path / "truth.npy"
    np.save(truth, GRAY[0].numpy())
    assert run("reconstruct", truth, "--weights", weights, "--simulate").exit_code == 0
    simulated = np.load(tmp_path / "truth_degraded.npy")
    sums = problem.physics.scale * problem.physics.A(GRAY[None])[0, 0].numpy()
    assert np.allclose(simulated, sums, atol=0.2 * problem.physics.scale)
    assert run("reconstruct", tmp_path / "truth_degraded.npy", *words).exit_code == 0
    again = np.load(tmp_path / "truth_degraded_restored.npy")
    assert np.allclose(again, np.load(tmp_path / "truth_restored.npy"), atol=2e-3)


def test_a_sinogram_of_scikit_image_becomes_its_picture(run: Run, tmp_path: Path) -> None:
    """24 detectors of a circle, whole turn, angles from a file, values from 0 to 255."""
    weights = save_weights(tmp_path / "ct.safetensors", "tomography", angles="9")
    rows, columns = np.mgrid[:24, :24] - 12.0
    picture = 255 * (np.hypot(rows - 2, columns + 3) < 5) + 0.0
    angles = np.arange(0, 360, 6.0)
    np.save(tmp_path / "scan.npy", radon(picture, angles, circle=True))
    np.savetxt(tmp_path / "angles.txt", angles)
    words = ("--weights", weights, "--angles", tmp_path / "angles.txt", "--data-range", 255)
    result = run("reconstruct", tmp_path / "scan.npy", *words, "--alpha", 0.01)
    assert result.exit_code == 0, result.stderr
    assert "Warning" not in result.stdout
    found = np.load(tmp_path / "scan_restored.npy")
    assert found.shape == (24, 24)
    assert np.square(found - picture).mean() ** 0.5 < 0.1 * 255


def test_ray_sums_of_another_size_are_told(run: Run, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "ct.safetensors", "tomography", angles="9")
    file = tmp_path / "scan.npy"
    for factor in (255.0, 0.002):
        np.save(file, factor * np.full((20, 9), 10.0))
        result = run("reconstruct", file, "--weights", weights, "--overwrite")
        assert "Warning: the measurements lie between" in result.stdout, factor


@pytest.mark.parametrize(
    ("shape", "words"),
    [((29, 8), ()), ((9, 9), ("--angles", "30")), ((29, 9), ("--axis", "29"))],
)
def test_other_files_are_no_sinograms(
    run: Run, tmp_path: Path, shape: tuple[int, int], words: tuple[str, ...]
) -> None:
    weights = save_weights(tmp_path / "ct.safetensors", "tomography", angles="9")
    file = tmp_path / "scan.npy"
    np.save(file, np.ones(shape))
    result = run("reconstruct", file, "--weights", weights, *words)
    assert result.exit_code == 3
    assert "detectors" in result.stderr
    assert not (tmp_path / "scan_restored.npy").exists()


def test_numbers_of_any_range_are_restored_alike(run: Run, weights: Path, tmp_path: Path) -> None:
    """8 bits, 12 bits in 16, values of 0 to 255 in a float file, and Hounsfield units."""
    counts = np.rint(255 * GRAY[0].numpy())
    files = {
        "float255.npy": (counts, "255"),
        "hounsfield.npy": (counts * 8.0 - 1000.0, "-1000:1040"),
        "twelve.png": ((counts * 16).astype(np.uint16), "4080"),
    }
    PIL.Image.fromarray(counts.astype(np.uint8)).save(tmp_path / "bytes.png")
    assert run("reconstruct", tmp_path / "bytes.png", "--weights", weights).exit_code == 0
    expected = read_image(tmp_path / "bytes_restored.png").pixels
    for name, (values, data_range) in files.items():
        file = tmp_path / name
        if name.endswith(".png"):
            PIL.Image.fromarray(values).save(file)
        else:
            np.save(file, values)
        lost = run("reconstruct", file, "--weights", weights)
        assert "Warning: the pixels lie between" in lost.stdout, name
        words = ("--data-range", data_range, "--overwrite")
        result = run("reconstruct", file, "--weights", weights, *words)
        assert result.exit_code == 0, result.stderr
        assert "Warning" not in result.stdout
        found = read_image(tmp_path / f"{file.stem}_restored{file.suffix}")
        unit = found.unit_pixels(data_range_from_text(data_range))
        assert float((unit - expected).abs().max()) < 0.6 / 255, name


def test_noise_is_said_in_the_numbers_of_the_range(run: Run, weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "photo.npy"
    np.save(file, GRAY[0].numpy())
    words = ("--weights", weights, "--simulate", "--noise")
    assert run("reconstruct", file, *words, 0.1).exit_code == 0
    np.save(tmp_path / "large.npy", 255 * GRAY[0].numpy())
    more = ("--data-range", 255)
    assert run("reconstruct", tmp_path / "large.npy", *words, 25.5, *more).exit_code == 0
    one, other = (np.load(tmp_path / f"{name}_degraded.npy") for name in ("photo", "large"))
    assert np.allclose(255 * one, other, atol=1e-3)
    result = run("reconstruct", file, *words, 25, "--overwrite")
    assert result.exit_code == 2
    assert "--data-range 255" in result.stderr


def test_other_noise_than_was_learned_is_told_and_sets_the_strength(
    run: Run, weights: Path, tmp_path: Path
) -> None:
    """The weights say that they were learned for 0.05."""
    y, x = torch.meshgrid(*[torch.linspace(0, 1, 96)] * 2, indexing="ij")
    photo = 0.5 + 0.4 * torch.sin(7 * x + 5 * y)
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    file = tmp_path / "photo.npy"
    for sigma, odd in ((0.05, False), (0.005, True), (0.2, True)):
        np.save(file, (photo + sigma * noise).numpy())
        result = run("reconstruct", file, "--weights", weights, "--overwrite")
        assert ("R was learned for 0.05 and" in result.stdout) == odd, result.stdout
        found = re.search("--noise ([0-9.]+)", result.stdout)
        assert found is None or float(found[1]) == pytest.approx(sigma, rel=0.05)
    regularizer, _ = load_regularizer(weights)
    noisy = torch.from_numpy(np.load(file))[None, None]
    words = ("--weights", weights, "--overwrite", "--alpha", 0.5, "--noise")
    result = run("reconstruct", file, *words, 0.2)
    assert "alpha is 2.83" in result.stdout  # 0.5 * 4 ** 1.25
    assert "Warning" not in result.stdout
    model = EquilibriumReconstructor(regularizer, 0.5 * 4**1.25)
    expected = model.solve(noisy, denoise((1, 96, 96)).physics).x[0, 0]
    assert np.allclose(np.load(tmp_path / "photo_restored.npy"), expected.numpy(), atol=2e-3)
    other = save_weights(tmp_path / "blur.safetensors", "deblur")
    result = run(
        "reconstruct",
        file,
        "--weights",
        other,
        "--task",
        "denoise",
        "--noise",
        0.1,
        "--out",
        tmp_path / "o",
    )
    assert result.exit_code == 2
    assert "--alpha" in result.stderr


def test_nan_of_a_file_is_inpainted(run: Run, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "w.safetensors", "inpaint", mask="0.5")
    holes = np.zeros((20, 20), bool)
    holes[4:9, 3:12] = True
    known = tmp_path / "known.png"
    PIL.Image.fromarray((~holes).astype(np.uint8) * 255).save(known)
    filled, marked = GRAY[0].numpy().copy(), GRAY[0].numpy().copy()
    filled[holes], marked[holes] = 0, np.nan
    np.save(tmp_path / "zero.npy", filled)
    np.save(tmp_path / "nan.npy", marked)
    words = ("--weights", weights, "--overwrite")
    assert run("reconstruct", tmp_path / "zero.npy", *words, "--mask", known).exit_code == 0
    expected = np.load(tmp_path / "zero_restored.npy")
    for mask in ("nan", known):
        result = run("reconstruct", tmp_path / "nan.npy", *words, "--mask", mask)
        assert result.exit_code == 0, result.stderr
        assert "88.75 % of the pixels are known" in result.stdout
        np.testing.assert_array_equal(np.load(tmp_path / "nan_restored.npy"), expected)
    marked[0, 0] = np.nan
    np.save(tmp_path / "nan.npy", marked)
    for code, said, given in (
        (3, "--mask nan", ("nan.npy", "--mask", known)),
        (3, "--mask nan", ("nan.npy", "--mask", known, "--simulate")),
        (3, "no NaN", ("zero.npy", "--mask", "nan")),
        (2, "for reconstruct only", ("zero.npy", "--mask", "nan", "--simulate")),
        (3, "--mask nan", ("nan.npy", "--task", "denoise")),
    ):
        result = run("reconstruct", tmp_path / given[0], *words, *given[1:])
        assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


def test_nan_is_missing_whatever_black_is(run: Run, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "w.safetensors", "inpaint", mask="0.5")
    marked = GRAY[0].numpy().copy()
    marked[4:9, 3:12] = np.nan
    np.save(tmp_path / "unit.npy", marked)
    np.save(tmp_path / "hounsfield.npy", (4000 * marked - 1000).astype(np.float32))
    words = ("--weights", weights, "--mask", "nan")
    assert run("reconstruct", tmp_path / "unit.npy", *words).exit_code == 0
    result = run("reconstruct", tmp_path / "hounsfield.npy", *words, "--data-range", "-1000:3000")
    assert result.exit_code == 0, result.stderr
    expected = 4000 * np.load(tmp_path / "unit_restored.npy") - 1000
    found = np.load(tmp_path / "hounsfield_restored.npy")
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize("name", ["counts.npy", "few.tif", "few.pgm", "signed.npy"])
def test_integers_of_every_kind_are_restored_as_the_same_shares_of_white(
    run: Run, weights: Path, tmp_path: Path, name: str
) -> None:
    stored = np.rint(1000 * GRAY[0].numpy())
    file, white = tmp_path / name, 1000
    if name.endswith("npy"):
        np.save(file, stored.astype(np.uint32 if name == "counts.npy" else np.int16))
    elif name.endswith("pgm"):
        file.write_bytes(b"P5 20 20 1000\n" + stored.astype(">u2").tobytes())
    else:
        white = 1023
        share = Image(
            torch.from_numpy(stored / white).float()[None], depth=Depth.UINT16, white=1023
        )
        write_image(file, share)
    given = () if file.suffix in (".tif", ".pgm") else ("--data-range", white)
    result = run("reconstruct", file, "--weights", weights, *given)
    assert result.exit_code == 0, result.stderr
    expected = solved(weights, torch.from_numpy(stored / white).float()[None]).clamp(min=0)
    if name == "few.pgm":
        image = read_image(tmp_path / "few_restored.png")
        found = image.pixels * white
    else:
        image = read_image(tmp_path / name.replace(".", "_restored."))
        found = image.numbers.float()
    assert image.depth == {"counts.npy": "uint32", "signed.npy": "int16"}.get(name, "uint16")
    assert float((found - white * expected).abs().max()) < 0.6
