"""What every command does on four tiny images, and what must be the same whenever it is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from programs import pattern, save_weights

from equipoise.learn.checkpoint import read_checkpoint
from equipoise.regularizers import load_regularizer

_TRAINING = (
    "--patch-size", 16, "--patches", 4, "--batch-size", 2, "--validation-crop", 16,
    "--data", "photos", "--steps", 4,
)  # fmt: skip
IMAGES = [f"photos/{k}.png" for k in range(4)]


@dataclass(frozen=True)
class Whole:
    """A command and its outputs.

    Args:
        words: the command; it runs in a folder that :func:`furnish` made.
        out: what ``--out`` says.
        outputs: every file that is there in the end.
        result: what must be the same of one of them whenever it is made.
        again: what is added to go on with it.
    """

    words: tuple[object, ...]
    out: str
    outputs: tuple[str, ...]
    result: Callable[[Path], object]
    again: tuple[str, ...] = ("--overwrite",)


def furnish(folder: Path) -> Path:
    """A folder with the files that commands name."""
    (folder / "photos").mkdir(parents=True)
    for k in range(4):
        values = np.rint(255 * pattern(24, shift=k)).astype(np.uint8)
        PIL.Image.fromarray(values).save(folder / "photos" / f"{k}.png")
    save_weights(folder / "tied.safetensors", "denoise")
    return folder


def learned(path: Path) -> object:
    regularizer, record = load_regularizer(path)
    training = record["training"]
    told = ("steps", "best_step", "loss", "validation_psnrs", "stopped")
    weights = {name: t.tolist() for name, t in regularizer.state_dict().items()}
    return weights, {name: training[name] for name in told}


def told(path: Path) -> object:
    """A file without what another run may say otherwise: names of runs, times."""
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>")
        return ".html"
    return path.read_bytes()


def _timeless(content: Any) -> Any:
    if isinstance(content, dict):
        free = ("run", "seconds", "train_seconds", "reconstruct_seconds", "command")
        return {key: _timeless(value) for key, value in content.items() if key not in free}
    return [_timeless(value) for value in content] if isinstance(content, list) else content


COMMANDS = {
    "train": Whole(
        ("train", "--regularizer", "tied-conv", "--set", "filters=2", "--set", "kernel_size=3",
         *_TRAINING, "--out", "made/w.safetensors"),
        "made/w.safetensors", ("made/w.safetensors",), learned,
    ),
    "compare": Whole(
        ("compare", "--task", "denoise", "--methods", "tikhonov,bilevel,equilibrium",
         "--regularizer", "tied-conv", *_TRAINING, "--crop", 16, "--out", "made"),
        "made", ("made/report.html", "made/summary.json"), told,
    ),
    "certify": Whole(
        ("certify", "--regularizer", "tikhonov", "--size", 16, "--out", "made"),
        "made", ("made/certificate.html", "made/certificate.json"), told,
    ),
    "study": Whole(
        ("study", "rates", "--size", 8, "--repeats", 2, "--noise-levels", "0.1,0.03",
         "--physics", "inpaint", "--regularizer", "tikhonov", "--out", "made"),
        "made",
        ("made/report.html", "made/summary.json",
         "made/inpaint-tikhonov.png", "made/inpaint-tikhonov.svg"),
        told,
    ),
    "reconstruct": Whole(
        ("reconstruct", *IMAGES, "--weights", "tied.safetensors", "--out", "made"),
        "made", tuple(f"made/{k}_restored.png" for k in range(4)), told, ("--resume",),
    ),
}  # fmt: skip


def results(whole: Whole, folder: Path) -> dict[str, object]:
    """What is there of the outputs, each of which can be read."""
    return {name: whole.result(folder / name) for name in whole.outputs if (folder / name).exists()}


def others(whole: Whole, folder: Path) -> list[str]:
    """What is there besides inputs and outputs."""
    files = (path for path in folder.rglob("*") if path.is_file())
    found = sorted(str(path.relative_to(folder)) for path in files)
    inputs = (*IMAGES, "tied.safetensors", *whole.outputs)
    return [name for name in found if name not in inputs]


def require_readable_checkpoints(folder: Path) -> int:
    """Read every checkpoint; how many there are."""
    found = [path for path in folder.rglob("*.safetensors") if not path.name.startswith(".")]
    checkpoints = [p for p in found if "checkpoint" in p.name or p.parent.name == "unfinished"]
    for path in checkpoints:
        read_checkpoint(path)
    return len(checkpoints)
