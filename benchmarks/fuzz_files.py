"""Valid files of every kind that the program reads, and the function that reads it."""

from __future__ import annotations

import gzip
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import PIL.Image
import tifffile
import torch
import typer.main
from typer.core import TyperOption

from benchmarks.fuzz_contents import changed_json, changed_png, changed_yaml
from benchmarks.fuzz_mutations import sealed, with_checksums
from equipoise.cli.app import app
from equipoise.cli.config import defaults_of, long_options
from equipoise.images import read_image, write_image
from equipoise.learn.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from equipoise.problems import kernel_from_text, mask_from_text, read_idx
from equipoise.problems.angles import angles_from_file
from equipoise.problems.records import (
    learned_noise,
    learned_values,
    recorded_task,
    task_record,
)
from equipoise.regularizers import Scaled, build, load_regularizer, save_regularizer
from equipoise.regularizers.published import from_learned_regularizers
from equipoise.settings.task import Task

#: Makes valid files in an empty folder.
Make = Callable[[Path], None]


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Args:
        make: writes valid ones.
        read: what the program reads them with.
        mend: restores the checksums of a damaged file, given what it was, so that damage is not all
            found by these; None where there are none.
        change: makes a file that is well-formed and says something odd.
    """

    make: Make
    read: Callable[[Path], object]
    mend: Callable[[bytes, bytes], bytes] | None = None
    change: Callable[[bytes, Random], bytes] | None = None


def valid(kind: Kind) -> dict[str, bytes]:
    """Valid files of a kind: name -> content."""
    with tempfile.TemporaryDirectory() as folder:
        kind.make(Path(folder))
        files = sorted(Path(folder).iterdir())
        for file in files:
            kind.read(file)
        return {file.name: file.read_bytes() for file in files}


_RNG = np.random.default_rng(0)
_GRAY = _RNG.integers(0, 256, (12, 15), np.uint8)
_COLOUR = _RNG.integers(0, 256, (12, 15, 3), np.uint8)
_CLEAR = _RNG.integers(0, 256, (12, 15, 4), np.uint8)


def _png8(folder: Path) -> None:
    PIL.Image.fromarray(_GRAY).save(folder / "gray.png", dpi=(300, 300), icc_profile=b"x" * 99)
    PIL.Image.fromarray(_COLOUR).save(folder / "colour.png")
    PIL.Image.fromarray(_CLEAR).save(folder / "clear.png")
    PIL.Image.fromarray(_COLOUR).quantize(16).save(folder / "palette.png", transparency=3)
    PIL.Image.fromarray(_GRAY).convert("1").save(folder / "bilevel.png")
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(_GRAY).save(folder / "turned.png", exif=exif)


def _png16(folder: Path) -> None:
    import imagecodecs

    for name, values in (("gray", _GRAY), ("colour", _COLOUR), ("clear", _CLEAR)):
        wide = values.astype(np.uint16) * 257
        (folder / f"{name}.png").write_bytes(imagecodecs.png_encode(wide))


def _jpeg(folder: Path) -> None:
    PIL.Image.fromarray(_GRAY).save(folder / "gray.jpg", dpi=(72, 72))
    PIL.Image.fromarray(_COLOUR).save(folder / "colour.jpg", subsampling=2)
    PIL.Image.fromarray(_COLOUR).save(folder / "progressive.jpg", progressive=True)


def _tiff(folder: Path) -> None:
    wide = _COLOUR.astype(np.uint16) * 257
    for codec in ("none", "lzw", "zlib", "packbits", "zstd", "lzma"):
        chosen = None if codec == "none" else codec
        tifffile.imwrite(folder / f"{codec}.tif", wide, photometric="rgb", compression=chosen)
    tifffile.imwrite(folder / "jpeg.tif", _COLOUR, photometric="rgb", compression="jpeg")
    tifffile.imwrite(folder / "float.tif", _GRAY.astype(np.float32) / 255, resolution=(9, 9))
    tifffile.imwrite(folder / "bilevel.tif", _GRAY > 99)
    tifffile.imwrite(folder / "tiles.tif", wide, photometric="rgb", tile=(16, 16))
    tifffile.imwrite(folder / "bands.tif", _CLEAR, photometric="rgb", extrasamples=[0])
    colours = np.arange(768, dtype=np.uint16).reshape(3, 256) * 85
    tifffile.imwrite(folder / "palette.tif", _GRAY, photometric="palette", colormap=colours)
    scale = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(folder / "ome.tif", _GRAY, ome=True, metadata=scale)


def _geotiff(folder: Path) -> None:
    """Tags that say where an image lies, and what stands for missing numbers."""
    place = [
        (33550, 12, 3, (10.0, 10.0, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True),
        (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
        (34737, 2, 0, "WGS 84|", True),
        (42113, 2, 0, "-9999", True),
    ]
    tifffile.imwrite(folder / "float.tif", _GRAY.astype(np.float32) / 255, extratags=place)
    tifffile.imwrite(folder / "integers.tif", _GRAY.astype(np.int16), extratags=place)


def _rewritten(file: Path) -> None:
    """Read an image and write it to a TIFF, with all that it says of itself."""
    image = read_image(file, missing=True)
    write_image(file.with_name("written.tif"), replace(image, missing=None))


def _npy(folder: Path) -> None:
    for name in ("bool", "uint8", "int16", "uint32", "float16", "float32", ">f8", "complex64"):
        np.save(folder / f"{name.strip('>')}.npy", _GRAY.astype(name))
    np.save(folder / "colour.npy", _COLOUR)
    np.save(folder / "bands.npy", _COLOUR.transpose(2, 0, 1))


def _bmp(folder: Path) -> None:
    PIL.Image.fromarray(_GRAY).save(folder / "gray.bmp")
    PIL.Image.fromarray(_COLOUR).save(folder / "colour.bmp")
    PIL.Image.fromarray(_GRAY).convert("1").save(folder / "bilevel.bmp")


def _pgm(folder: Path) -> None:
    PIL.Image.fromarray(_GRAY).save(folder / "gray.pgm")
    PIL.Image.fromarray(_COLOUR).save(folder / "colour.ppm")
    deep = (_GRAY.astype(np.uint16) * 257).astype(">u2").tobytes()
    (folder / "deep.pgm").write_bytes(b"P5\n# made\n15 12\n65535\n" + deep)
    text = " ".join(str(value) for value in _GRAY.ravel())
    (folder / "plain.pgm").write_text(f"P2 15 12 255\n{text}\n")
    (folder / "bilevel.pnm").write_bytes(b"P4 15 12\n" + bytes(24))


def _weights(folder: Path) -> None:
    torch.manual_seed(0)
    kernel = kernel_from_text("gaussian:0.5")
    tasks = (Task(name="denoise"), Task(name="deblur", kernel=kernel, noise=0.1))
    for name, options in (
        ("tied-conv", {"filters": 2, "kernel_size": 3}),
        ("crr", {"filters": [2, 2], "kernel_size": 3}),
        ("contractive", {"width": 2, "depth": 2}),
        ("tikhonov", {"operator": "gradient"}),
    ):
        for number, task in enumerate(tasks):
            record = {"task": task_record(task), "seed": 0, "data": {"values": [0.0, 1.0]}}
            made = Scaled(build(name, **options), strength=0.1)
            save_regularizer(folder / f"{name}-{number}.safetensors", made, record)


def _read_weights(file: Path) -> object:
    _, record = load_regularizer(file)
    task = recorded_task(record)
    return task, learned_values(record), learned_noise(task, Task(name="denoise"))


def _checkpoint(folder: Path) -> None:
    tensors = {"weights/a": torch.ones(2, 3), "optimizer/0.step": torch.ones(())}
    facts: dict[str, object] = {"step": 3, "seconds": 0.5, "log": {"loss": [1.0, 2.0]}}
    write_checkpoint(folder / "run.safetensors", Checkpoint(tensors, facts))


_OPTIONS = """task: inpaint
mask-fraction: 0.3
methods: [tv, bilevel, equilibrium]
steps: 300
patches: 1_000
jacobian-penalty: 1.5e-3
out: 'results/mine'
"""


def _yaml(folder: Path) -> None:
    (folder / "options.yaml").write_text(_OPTIONS)
    (folder / "nested.yaml").write_text(
        "---\n# comment\nmethods:\n  - tv\n  - bilevel\nseed: 0x1f\n"
    )


@cache
def _compare_options() -> dict[str, TyperOption]:
    group: Any = typer.main.get_command(app)
    return long_options(group.commands["compare"])


def _read_yaml(file: Path) -> object:
    return defaults_of(file, _compare_options())


def _mask(folder: Path) -> None:
    known = np.ones((12, 15), bool)
    known[3:7, 4:9] = False
    PIL.Image.fromarray(known.astype(np.uint8) * 255).save(folder / "mask.png")
    np.save(folder / "mask.npy", known)
    colours = np.where(known[..., None], 255, np.array([0, 255, 0])).astype(np.uint8)
    PIL.Image.fromarray(colours).save(folder / "mask.bmp")


def _kernel(folder: Path) -> None:
    y, x = np.mgrid[-8:9, -8:9]
    disc = y**2 + x**2 < 40
    PIL.Image.fromarray(disc.astype(np.uint8) * 255).save(folder / "kernel.png")
    np.save(folder / "kernel.npy", disc / disc.sum())


def _idx(folder: Path) -> None:
    content = struct.pack(">HBB3I", 0, 8, 3, 2, 12, 15) + _GRAY.tobytes() * 2
    (folder / "images").write_bytes(content)
    (folder / "images.gz").write_bytes(gzip.compress(content, mtime=0))


def _angles(folder: Path) -> None:
    degrees = np.linspace(0, 180, 24, endpoint=False)
    (folder / "a.txt").write_text("\n".join(map(str, degrees)))
    (folder / "a.csv").write_text(", ".join(map(str, degrees)))
    np.save(folder / "a.npy", degrees)


def _published(folder: Path) -> None:
    """A convex ridge as LearnedRegularizers saves it."""
    shapes = ((2, 1), (3, 2), (4, 3))
    names = ("filters.0.parametrizations.weight.original", "filters.1.weight", "filters.2.weight")
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(*shape, 5, 5, generator=generator)
        for name, shape in zip(names, shapes, strict=True)
    }
    state |= {"scaling": torch.zeros(1, 4, 1, 1), "beta": torch.tensor(4.0)}
    torch.save(state, folder / "crr.pt")


#: Name -> kind.
KINDS = {
    "png8": Kind(_png8, read_image, with_checksums, changed_png),
    "png16": Kind(_png16, read_image, with_checksums, changed_png),
    "jpeg": Kind(_jpeg, read_image),
    "tiff": Kind(_tiff, read_image),
    "npy": Kind(_npy, read_image),
    "bmp": Kind(_bmp, read_image),
    "pgm": Kind(_pgm, read_image),
    "weights": Kind(_weights, _read_weights, sealed, changed_json),
    "checkpoint": Kind(_checkpoint, read_checkpoint, sealed, changed_json),
    "yaml": Kind(_yaml, _read_yaml, change=changed_yaml),
    "mask": Kind(_mask, lambda file: mask_from_text(str(file))),
    "kernel": Kind(_kernel, lambda file: kernel_from_text(str(file))),
    "idx": Kind(_idx, read_idx),
    "geotiff": Kind(_geotiff, _rewritten),
    "angles": Kind(_angles, angles_from_file),
    "published": Kind(_published, lambda file: from_learned_regularizers(file, 0.0)),
}
