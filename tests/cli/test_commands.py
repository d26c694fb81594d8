"""Every command line of the documents and of --help does what it says, shortened."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from programs import Run, pattern, save_weights

from documents import DOCUMENTS, read
from equipoise.cli import examples

#: What makes each command short, in place of what the line says.
TINY = (
    *("--steps", "1", "--batch-size", "2", "--patches", "2"),
    *("--patch-size", "16", "--validation-crop", "16", "--data", "photos"),
)
SHORT = {
    "compare": (*TINY, "--crop", "16", "--seeds", "1", "--device", "cpu"),
    "train": TINY,
    "reconstruct": (),
    "models": (),
    "certify": ("--size", "16"),
    "study": ("--size", "8", "--repeats", "2", "--noise-levels", "0.1,0.03"),
}
#: Short stand-ins for defaults, where a line leaves the choice to the program.
INSTEAD_OF_DEFAULTS = {
    "compare": ("--methods", "tikhonov,bilevel", "--regularizer", "tied-conv"),
    "study": ("--physics", "inpaint", "--regularizer", "tikhonov"),
}
#: Options that make these superfluous.
CHOSEN = {"compare": ("--methods", "--config"), "study": ("--physics", "--weights")}


def lines_of_documents() -> list[str]:
    return [
        line.strip()
        for document in DOCUMENTS
        for line in read(document).splitlines()
        if re.match(r"    equipoise [a-z]", line)
    ]


def lines_of_help() -> list[str]:
    texts = "\n".join(text for name, text in vars(examples).items() if name.isupper())
    lines = (line.strip() for line in texts.replace("\\\n", " ").splitlines())
    found = [line for line in lines if re.match(r"equipoise [a-z]+ ?(--|\w|$)", line)]
    return [re.sub(r" +", " ", line) for line in found]


def shortened(line: str) -> tuple[str, ...]:
    _, name, *words = shlex.split(line)
    for option in ("--time-budget", *SHORT[name][::2]):
        if option in words:
            place = words.index(option)
            del words[place : place + 2]
    if not any(option in words for option in CHOSEN.get(name, ())):
        words += INSTEAD_OF_DEFAULTS.get(name, ())
    return (name, *words, *SHORT[name])


#: Shortened forms with one of the lines that have it.
LINES = {shortened(line): line for line in (*lines_of_documents(), *lines_of_help())}


def code(document: str, language: str, word: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", read(document), re.S)
    (found,) = (block for block in blocks if word in block)
    return str(found)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that a command names."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "photos").mkdir()
    for k in range(4):
        picture(folder / "photos" / f"{k}.png", pattern(20, shift=k))
    for name in ("noisy", "blurred", "clean", "photo", "holes"):
        picture(folder / f"{name}.png", pattern(20))
    picture(folder / "known.png", np.indices((20, 20)).sum(0) % 2)
    tifffile.imwrite(folder / "scan.tif", pattern(20).astype(np.float32))
    tifffile.imwrite(folder / "twelve-bit.tif", (4095 * pattern(20)).astype(np.uint16))
    np.save(folder / "slice.npy", 4000 * pattern(20) - 1000)
    np.save(folder / "scan.npy", np.full((91, 60), 20.0))
    np.savetxt(folder / "angles.txt", np.arange(0, 180, 3))
    save_weights(folder / "scan.safetensors", "tomography", angles="30")
    marked = np.where(np.eye(20) > 0, np.nan, pattern(20)).astype(np.float32)
    tifffile.imwrite(folder / "field.tif", marked)
    for name in ("scans", "masks"):
        (folder / name).mkdir()
    for name in ("a", "b"):
        picture(folder / "scans" / f"{name}.png", pattern(20))
        picture(folder / "masks" / f"{name}.png", np.indices((20, 20)).sum(0) % 2)
    save_weights(folder / "tied.safetensors", "denoise")
    save_weights(folder / "holes.safetensors", "inpaint")
    text = code("docs/command-line.md", "python", "def tomography")
    (folder / "scanner.py").write_text(text)
    options = code("docs/command-line.md", "yaml", "task:")
    (folder / "comparison.yaml").write_text(options)
    (folder / "mine.yaml").write_text("noise: 0.02\n")
    return folder


def picture(path: Path, values: Any) -> None:
    PIL.Image.fromarray(np.rint(255 * values).astype(np.uint8)).save(path)


def value_of(words: Sequence[str], option: str) -> str:
    return words[len(words) - 1 - list(reversed(words)).index(option) + 1]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("words", LINES, ids=LINES.values())
def test_commands_run(
    words: tuple[str, ...],
    run: Run,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    if words[0] == "train":
        Path(value_of(words, "--out")).unlink(missing_ok=True)
    result = run(*words)
    assert result.exit_code == 0, result.output
    for name in written(words):
        assert Path(name).is_file(), name


def written(words: Sequence[str]) -> list[str]:
    """Files that a command must leave behind."""
    command = words[0]
    out = value_of(words, "--out") if "--out" in words else None
    if command == "train":
        return [str(out)]
    if command == "reconstruct":
        named = words[1 : words.index("--weights") if "--weights" in words else None]
        inputs = [Path(word) for word in named if word.endswith((".png", ".tif"))]
        if out is not None and Path(out).suffix:
            return [out]
        folder = Path(out or ".")
        return [str(folder / f"{image.stem}_restored{image.suffix}") for image in inputs]
    if command == "models":
        return []
    if command == "certify":
        return [f"{out}/certificate.html", f"{out}/certificate.json"] if out else []
    usual = "results/compare" if command == "compare" else f"results/study/{words[1]}"
    return [f"{out or usual}/report.html", f"{out or usual}/summary.json"]


def test_lines_are_found() -> None:
    assert {line.split()[1] for line in lines_of_documents()} == set(SHORT)
    assert {line.split()[1] for line in lines_of_help()} == set(SHORT)
    assert len(LINES) > 25
