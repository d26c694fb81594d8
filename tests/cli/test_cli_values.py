"""Values as users type them, and options from a file."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from programs import Run

from equipoise.cli.config import as_defaults, read_config
from equipoise.cli.tasks import choose_task, compared_tasks
from equipoise.cli.values import arguments, duration, names
from equipoise.errors import InputError, UnknownNameError, UsageError, WeightsError
from equipoise.problems.records import recorded_task, task_record
from equipoise.regularizers import build
from equipoise.settings.task import Task

OPTIONS: dict[str, Any] = {
    "steps": SimpleNamespace(name="steps", multiple=False),
    "mask-fraction": SimpleNamespace(name="mask_fraction", multiple=False),
    "simulate": SimpleNamespace(name="simulate", multiple=False),
    "set": SimpleNamespace(name="set_", multiple=True),
    "methods": SimpleNamespace(name="methods", multiple=True),
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120), ("120s", 120), ("2m", 120), ("1.5h", 5400), (" 2 min ", 120), (".5s", 0.5)
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-3s", "2d", "s", "nan", "1m30s"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(UsageError, match="120s, 2m, 1h"):
        duration(text)


def test_lists_of_names() -> None:
    assert names(["tv,bilevel", " tikhonov", "tv"]) == ("tv", "bilevel", "tikhonov")
    assert names(None) is None
    assert names([","]) is None


def test_constructor_arguments_are_yaml() -> None:
    found = arguments(["filters=32", "activation=relu", "kernel-size=[3, 5]", "bias=false"])
    assert found == {"filters": 32, "activation": "relu", "kernel_size": [3, 5], "bias": False}
    with pytest.raises(UsageError, match="cannot be read"):
        arguments(["filters=[1"])


def test_several_numbers_need_no_brackets() -> None:
    given = ["filters=4,8,60", "weights=[1, 2]", "parts=[{name: tv}, {name: crr}]", "a='x,y'"]
    assert arguments(given) == {
        "filters": [4, 8, 60],
        "weights": [1, 2],
        "parts": [{"name": "tv"}, {"name": "crr"}],
        "a": "x,y",
    }
    with pytest.raises(UsageError, match=r"'sum' needs parts=\[\{name: tv\}, \{name: crr\}\]"):
        build("sum")
    assert type(build("sum", **arguments(["parts=[{name: tv}, {name: crr}]"]))).__name__ == "Sum"


def test_file_entries_become_defaults() -> None:
    content = {"steps": 3, "mask_fraction": 0.5, "simulate": True, "methods": ["a", "b"]}
    assert as_defaults(content, OPTIONS) == {
        "steps": "3",
        "mask_fraction": "0.5",
        "simulate": True,
        "methods": ["a", "b"],
    }
    assert as_defaults({"methods": "a,b", "steps": None}, OPTIONS) == {"methods": ["a,b"]}
    assert as_defaults({"set": {"filters": 3}}, OPTIONS) == {"set_": ["filters=3"]}


def test_file_entries_that_do_not_fit() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'steps'"):
        as_defaults({"stpes": 3}, OPTIONS)
    with pytest.raises(UsageError, match="one value"):
        as_defaults({"steps": [1, 2]}, OPTIONS)
    with pytest.raises(UsageError, match="twice"):
        as_defaults({"mask-fraction": 0.5, "mask_fraction": 0.6}, OPTIONS)


def test_unreadable_configurations(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read"):
        read_config(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("steps: [1")
    with pytest.raises(InputError, match=r"cannot be read.*YAML"):
        read_config(broken)
    broken.write_text("- steps")
    with pytest.raises(UsageError, match="map option names"):
        read_config(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_config(broken)
    broken.write_text("# nothing yet\n")
    assert read_config(broken) == {}


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("stpes: 3", 2, "'steps'"),
        ("steps: many", 2, "--steps"),
        ("a: [", 3, "values in YAML"),
    ],
)
def test_bad_configuration_files(
    run: Run, tmp_path: Path, content: str, code: int, said: str
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(content)
    result = run("compare", "--config", file)
    assert result.exit_code == code
    assert said in result.stderr


NEST = "[" * 5000
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
)


@pytest.mark.parametrize(
    "content",
    [
        f"steps: {NEST}",
        f"set: {NEST}{']' * 5000}",
        BOMB,
        "steps: " + "9" * 5000,
        "steps: 0x" + "f" * 5000,
        "? [1, 2]\n: 3",
        "steps: 2001-99-99",
        "steps: !!python/object:os.system {}",
        "steps: !!int many",
        "steps: !!timestamp now",
        "steps: \x00",
        "0x" + "f" * 5000 + ": 3",
    ],
)
def test_whatever_yaml_raises_is_a_plain_error(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(content)
    result = run("compare", "--config", file)
    assert result.exit_code in (2, 3)
    assert result.stderr.startswith(("Error: ", "Usage: "))
    assert "Unexpected" not in result.stderr
    assert len(result.stderr) < 2000


@pytest.mark.parametrize("value", [NEST, "2001-99-99", "9" * 5000, "[&a 1, *a]", "!!int x"])
def test_whatever_yaml_raises_on_an_argument_is_a_plain_error(value: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        arguments([f"filters={value}"])


def test_options_complete_the_record_of_the_same_task() -> None:
    usual = Task(name="deblur", noise=0.03, kernel="gaussian:1.5")
    assert choose_task(usual, {}) == usual
    assert choose_task(None, {}) == Task(name="denoise")
    changed = choose_task(usual, {"noise": 0.1})
    assert changed == Task(name="deblur", noise=0.1, kernel="gaussian:1.5")
    other = choose_task(usual, {"name": "inpaint"})
    assert other == Task(name="inpaint")
    own = choose_task(usual, {"physics": "mine:blur"})
    assert own == Task(name="physics", physics="mine:blur")
    scan = Task(name="tomography", angles="30", unit_size=(64, 64))
    fewer = choose_task(scan, {"angles": "20"})
    assert fewer == Task(name="tomography", angles="20", unit_size=(64, 64))


def test_only_a_tomograph_has_a_scale() -> None:
    scan = Task(name="tomography").scaled_for(32)
    assert scan.unit_size == (32, 32)
    assert scan.scaled_for(48) == scan
    assert Task(name="denoise").scaled_for(32) == Task(name="denoise")


def test_records_without_or_with_a_damaged_task() -> None:
    usual = Task(name="inpaint", mask="0.3")
    assert recorded_task({"task": task_record(usual)}) == usual
    assert recorded_task({}) is None
    scan = Task(name="tomography", angles="60:0-120", unit_size=(32, 48))
    assert recorded_task(json.loads(json.dumps({"task": task_record(scan)}))) == scan
    older = {"task": "deblur", "noise": 0.1, "mask": None, "kernel": "motion:9", "physics": None}
    assert recorded_task({"task": older}) == Task(name="deblur", noise=0.1, kernel="motion:9")
    sizes = ({"task": "tomography", "unit_size": size} for size in ([32], "32", 32, ["a", 3]))
    for damaged in ("inpaint", {"noise": 1}, {"task": "inpaint", "colour": 3}, *sizes):
        with pytest.raises(WeightsError, match="--task"):
            recorded_task({"task": damaged})


def test_tasks_of_a_comparison() -> None:
    denoise, inpaint, deblur = (Task(name=name) for name in ("denoise", "inpaint", "deblur"))
    assert compared_tasks(None, {}) == (denoise, inpaint, deblur)
    assert compared_tasks(("all",), {"mask": "0.5", "kernel": "motion:9", "noise": 0.3}) == (
        Task(name="denoise", noise=0.3),
        Task(name="inpaint", noise=0.3, mask="0.5"),
        Task(name="deblur", noise=0.3, kernel="motion:9"),
    )
    assert compared_tasks(("deblur",), {"kernel": "motion:9"}) == (
        Task(name="deblur", kernel="motion:9"),
    )
    own = Task(name="physics", physics="mine:blur")
    assert compared_tasks(None, {"physics": "mine:blur"}) == (own,)
    assert compared_tasks(("physics",), {"physics": "mine:blur"}) == (own,)
    scan = Task(name="tomography", angles="60:0-120")
    assert compared_tasks(("tomography",), {"angles": "60:0-120"}) == (scan,)
    assert compared_tasks(("all", "tomography", "deblur"), {}) == (
        *(denoise, inpaint, deblur),
        Task(name="tomography"),
    )
