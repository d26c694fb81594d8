"""What the documents say exists, and everything that they must name is named."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from documents import DOCUMENTS, ROOT, read
from equipoise.cli.failures import ExitCode
from equipoise.differentiate import adjoint_by_name
from equipoise.learn.losses import LOSSES
from equipoise.linear import LINEAR_SOLVERS
from equipoise.regularizers import NAMES, build
from equipoise.settings.training import Mode
from equipoise.solve import SOLVERS
from equipoise.status import Status

#: Arguments without which a regulariser cannot be built.
REQUIRED: dict[str, dict[str, Any]] = {
    "scaled": {"inner": {"name": "tikhonov"}},
    "tied-dense": {"image_shape": [1, 2, 2], "features": 2},
    "untied-dense": {"image_shape": [1, 2, 2], "features": 2},
}
MACHINE = re.compile(r"(/work/|/home/|/root/|/tmp/|/Users/|[A-Z]:\\)")


def tables(text: str) -> dict[str, list[list[str]]]:
    """First head of each table -> its rows; a bar inside a cell is written with a backslash."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in text.splitlines():
        if not line.startswith("| "):
            rows = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("| "))]
        if not rows:
            rows = found.setdefault(cells[0], [])
            rows.append([])  # takes the place of the head until the table ends
        elif not set(cells[0]) <= set("- :"):
            rows.append(cells)
    return {head: [row for row in rows if row] for head, rows in found.items()}


def names(rows: list[list[str]]) -> list[str]:
    """The names in backticks in the first column."""
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[0])]


def code_blocks() -> list[Any]:
    return [
        pytest.param(code, id=f"{document}:{number}")
        for document in DOCUMENTS
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", read(document), re.S))
    ]


@pytest.mark.parametrize("code", code_blocks())
def test_python_in_documents_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "document", "exec"), {"__name__": "document"})
    if "summary()" in code and "learn(" in code:
        printed = capsys.readouterr().out
        assert "1 of 1 converged" in printed
        before, after = map(float, re.findall(r"PSNR ([\d.]+) -> ([\d.]+)", printed)[0])
        assert after > before + 5.0


def test_the_readme_has_ten_lines_of_python() -> None:
    code = re.findall(r"```python\n(.*?)```", read("README.md"), re.S)
    assert len(code) == 1
    assert len(code[0].strip().splitlines()) == 10


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_exist(document: str) -> None:
    text = read(document)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
            known = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in known, target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_absolute_machine_paths(document: str) -> None:
    assert not MACHINE.search(read(document))


def test_regularisers_are_those_of_the_catalogue() -> None:
    rows = tables(read("docs/regularizers.md"))["name"]
    assert sorted(names(rows)) == sorted(NAMES)
    for row in rows:
        (name,) = names([row])
        if row[2] in ("yes", "no"):
            regularizer = build(name, **REQUIRED.get(name, {}))
            assert regularizer.gradient_field == (row[2] == "yes"), name


def test_modes_losses_and_solvers_are_those_of_the_program() -> None:
    readme = tables(read("README.md"))
    learning, solving = read("docs/learning.md"), tables(read("docs/solvers.md"))
    assert sorted(names(readme["mode"])) == sorted(get_args(Mode))
    assert sorted(names(tables(learning)["mode"])) == sorted(get_args(Mode))
    losses = re.search(r"^Losses: (.*)$", learning, re.M)
    assert losses is not None
    assert sorted(re.findall(r"`(\w+)`", losses[1])) == sorted(LOSSES)
    for table in (readme, solving):
        assert sorted(names(table["solver"])) == sorted(SOLVERS)
        adjoints = names(table["adjoint"])
        assert sorted(adjoints) == sorted([*LINEAR_SOLVERS, "jacobian-free", "neumann:K"])
        for name in adjoints:
            adjoint_by_name(name.replace("K", "3"))
    for row in readme["solver"]:
        needs = SOLVERS[names([row])[0]].needs_potential
        assert row[1] == ("gradient fields" if needs else "any R")
    for row in readme["adjoint"]:
        name = names([row])[0]
        symmetric = name in LINEAR_SOLVERS and LINEAR_SOLVERS[name].needs_symmetric
        assert row[1] == ("gradient fields" if symmetric else "any R")
    statuses = {s.name for s in Status if s is not Status.RUNNING}
    assert set(names(solving["status"])) == statuses


def test_exit_codes_are_those_of_the_program() -> None:
    rows = tables(read("README.md"))["exit code"]
    assert [int(row[0]) for row in rows] == sorted(int(code) for code in ExitCode)


def test_the_diagram_of_layers_is_the_contract() -> None:
    diagram = re.findall(r"```text\n(.*?)```", read("ARCHITECTURE.md"), re.S)[0]
    drawn = [re.split(r"\s{2,}", line)[0] for line in diagram.strip().splitlines()]
    contract = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]
    assert drawn == [layer.replace("equipoise.", "") for layer in contract["layers"]]
    package = ROOT / "src" / "equipoise"
    modules = {p.stem for p in package.iterdir() if p.is_dir() or p.suffix == ".py"}
    layered = {name for layer in drawn for name in layer.split(" | ")}
    assert layered == {name for name in modules if not name.startswith("_")}


def test_files_that_the_architecture_names_exist() -> None:
    text = read("ARCHITECTURE.md")
    package = ROOT / "src" / "equipoise"
    for path in re.findall(r"`((?:\w+/)+\w*(?:\.\w+)?)`", text):
        places = (ROOT / path, package / path, package.parent / path)
        assert any(place.exists() for place in places), path
    known = {file.name for file in (*package.rglob("*.py"), *(ROOT / "tests").rglob("*.py"))}
    for name in re.findall(r"`(\w+\.py)`", text):
        assert name in known, name
    for name in ("SMALL", "CASES", "SOLVERS", "LINEAR_SOLVERS", "TASKS", "CANDIDATES"):
        sources = (*package.rglob("*.py"), *(ROOT / "tests").rglob("*.py"))
        assert f"`{name}`" in text
        assert any(re.search(rf"^{name}\b", f.read_text("utf-8"), re.M) for f in sources), name


def run_of(label: str, method: str, psnr: float, seed: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "task": "denoise",
        "method": method,
        "regularizer": "tv",
        "label": label,
        "parameters": 1234,
        "psnr_mean": psnr,
        "psnr_interval": {"low": psnr - 1.0, "high": psnr + 1.0},
        "psnr_input": 20.0,
        "ssim_mean": 0.8125,
        "train_seconds": 31.4,
        "converged_fraction": 1.0,
        "symmetry_defect": 0.25,
        "seed": seed,
        "images": [{}, {}, {}],
        **changes,
    }


def test_results_are_filled_from_the_summary(tmp_path: Path) -> None:
    null = {"low": None, "high": None}
    runs = [
        run_of("Total variation", "tv", 26.5),
        run_of("Untied pair, equilibrium", "equilibrium", 28.0),
        run_of("Untied pair, equilibrium", "equilibrium", 28.5, seed=1),
        run_of("Total variation", "tv", 25.25, task="deblur", psnr_interval=null),
    ]
    summary = tmp_path / "summary.json"
    content = {
        "environment": {"torch": "9.8", "threads": "2"},
        "command": "equipoise compare --seeds 2",
        "seconds": 345.6,
        "runs": runs,
    }
    summary.write_text(json.dumps(content))
    readme, image = tmp_path / "README.md", tmp_path / "docs" / "images" / "compare.png"
    shutil.copy(ROOT / "README.md", readme)
    fill = runpy.run_path(str(ROOT / "docs" / "make_figure.py"))["main"]
    fill(summary, readme, image)
    text = readme.read_text(encoding="utf-8")
    assert "](docs/images/compare.png)" in text
    assert image.read_bytes().startswith(b"\x89PNG")
    lines = text.splitlines()
    assert (
        "| Total variation | 1,234 | 26.50 | 25.50 to 27.50 | 0.812 | 31 | 100 % | 0.25 |" in lines
    )
    assert "| Total variation | 1,234 | 25.25 | – | 0.812 | 31 | 100 % | 0.25 |" in lines
    averaged = [line for line in lines if line.startswith("| Untied pair, equilibrium |")]
    assert averaged[0].split(" | ")[2:4] == ["28.25", "27.25 to 29.25"]
    assert len(averaged) == 1
    assert "`equipoise compare --seeds 2`, training seed 0, 1, which took 346 s." in text
    assert "torch 9.8, threads 2" in text
    outside = re.compile(r"<!-- results:begin -->.*<!-- results:end -->", re.S)
    assert outside.sub("", text) == outside.sub("", read("README.md"))
    fill(summary, readme, image)
    assert readme.read_text(encoding="utf-8") == text
