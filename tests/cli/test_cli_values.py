"""Values as users type them, and options from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import Run

from equipoise.cli.config import Option, as_defaults, read_config
from equipoise.cli.tasks import TaskOptions, choose_task, compared_tasks
from equipoise.cli.values import arguments, duration, names
from equipoise.errors import InputError, UnknownNameError, UsageError, WeightsError

OPTIONS = {
    "steps": Option("steps", False),
    "mask-fraction": Option("mask_fraction", False),
    "simulate": Option("simulate", False),
    "set": Option("set_", True),
    "methods": Option("methods", True),
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
    with pytest.raises(InputError, match="not valid YAML"):
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
    [("stpes: 3", 2, "'steps'"), ("steps: many", 2, "--steps"), ("a: [", 3, "not valid YAML")],
)
def test_bad_configuration_files(
    run: Run, tmp_path: Path, content: str, code: int, said: str
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(content)
    result = run("compare", "--config", file)
    assert result.exit_code == code
    assert said in result.stderr


def test_options_complete_the_record_of_the_same_task() -> None:
    usual = TaskOptions("deblur", noise=0.03, kernel="gaussian:1.5")
    nothing = dict.fromkeys(("task", "noise", "mask", "kernel", "physics"))
    assert choose_task(usual, **nothing) == usual
    assert choose_task(None, **nothing) == TaskOptions("denoise")
    changed = choose_task(usual, **{**nothing, "noise": 0.1})
    assert changed == TaskOptions("deblur", noise=0.1, kernel="gaussian:1.5")
    other = choose_task(usual, **{**nothing, "task": "inpaint"})
    assert other == TaskOptions("inpaint")
    own = choose_task(usual, **{**nothing, "physics": "mine:blur"})
    assert own == TaskOptions("physics", physics="mine:blur")
    scan = TaskOptions("tomography", angles="30", unit_size=(64, 64))
    fewer = choose_task(scan, **nothing, angles="20")
    assert fewer == TaskOptions("tomography", angles="20", unit_size=(64, 64))


def test_only_a_tomograph_has_a_scale() -> None:
    scan = TaskOptions("tomography").scaled_for(32)
    assert scan.unit_size == (32, 32)
    assert scan.scaled_for(48) == scan
    assert TaskOptions("denoise").scaled_for(32) == TaskOptions("denoise")


def test_records_without_or_with_a_damaged_task() -> None:
    usual = TaskOptions("inpaint", mask="0.3")
    assert TaskOptions.from_record({"task": usual.as_record()}) == usual
    assert TaskOptions.from_record({}) is None
    scan = TaskOptions("tomography", angles="60:0-120", unit_size=(32, 48))
    assert TaskOptions.from_record(json.loads(json.dumps({"task": scan.as_record()}))) == scan
    older = {"task": "deblur", "noise": 0.1, "mask": None, "kernel": "motion:9", "physics": None}
    assert TaskOptions.from_record({"task": older}) == TaskOptions("deblur", 0.1, None, "motion:9")
    sizes = ({"task": "tomography", "unit_size": size} for size in ([32], "32", 32, ["a", 3]))
    for damaged in ("inpaint", {"noise": 1}, {"task": "inpaint", "colour": 3}, *sizes):
        with pytest.raises(WeightsError, match="--task"):
            TaskOptions.from_record({"task": damaged})


def test_tasks_of_a_comparison() -> None:
    everything = ("denoise", "inpaint", "deblur")
    assert compared_tasks(None, None, None, None) == everything
    assert compared_tasks(("all",), "0.5", "motion:9", None) == everything
    assert compared_tasks(("deblur",), None, "motion:9", None) == ("deblur",)
    assert compared_tasks(None, None, None, "mine:blur") == ("physics",)
    assert compared_tasks(("tomography",), None, None, None, "60:0-120") == ("tomography",)
    assert compared_tasks(("all", "tomography"), None, None, None) == (*everything, "tomography")
