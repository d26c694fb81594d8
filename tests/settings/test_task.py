"""The task: what fits together, what it says of itself, and the problem that it poses."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from equipoise.errors import UsageError
from equipoise.problems import FixedMask, kernel_from_tensor
from equipoise.problems.pose import pose
from equipoise.problems.records import recorded_task, task_record
from equipoise.settings.task import Task

MASK = FixedMask(torch.eye(8, dtype=torch.float64), "the mask 'holes.png'")
KERNEL = kernel_from_tensor(torch.ones(3, 3), "the kernel of 'psf.npy'")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "inpant"}, "Did you mean 'inpaint'"),
        ({"name": "denoise", "kernel": "motion:9"}, "--kernel belongs to --task deblur"),
        ({"name": "deblur", "mask": "0.5"}, "--mask and --mask-fraction belong to --task inpaint"),
        ({"name": "inpaint", "angles": "30"}, "--angles belongs to --task tomography"),
        ({"name": "denoise", "physics": "a:b"}, "--physics belongs to --task physics"),
        ({"name": "denoise", "unit_size": (3, 4)}, "unit_size belongs to --task tomography"),
        ({"name": "physics"}, "--physics module:function"),
        ({"name": "tomography", "angles": "30:120"}, "60:0-120"),
        ({"name": "tomography", "angles": "0"}, "at least one direction"),
        ({"name": "denoise", "noise": -0.1}, "greater than or equal to 0"),
        ({"name": "denoise", "noise": float("nan")}, "finite"),
        ({"name": "denoise", "noise": "0.1"}, "valid number"),
        ({"name": "inpaint", "mask": 0.5}, "valid string"),
        ({"name": "denoise", "colour": True}, "not permitted"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Task(**fields)


def test_a_task_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Task(name="denoise").noise = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Task(name="denoise", noise=0.2), "standard deviation 0.2"),
        (Task(name="inpaint"), "random 50 % of the pixels"),
        (Task(name="inpaint", mask="rows:0.25"), "random 25 % of the rows"),
        (Task(name="inpaint", mask=MASK), "by the mask 'holes.png'"),
        (Task(name="deblur"), "motion of 9 pixels"),
        (Task(name="deblur", kernel="gaussian:0.5"), "deviation 0.5 pixels"),
        (Task(name="deblur", kernel=KERNEL), "the kernel of 'psf.npy'"),
        (Task(name="tomography"), "30 directions over 0 to 180"),
        (Task(name="tomography", angles="7:0-120", unit_size=(4, 4)), "norm 1 for 4 x 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_task_poses_its_problem(task: Task, words: str) -> None:
    size = 8 if task.mask is MASK else 12
    problem = pose(task, (1, size, size))
    assert problem.name == task.name
    assert words in problem.description


def test_content_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="FixedMask, or a text, got Kernel"):
        pose(Task(name="inpaint", mask=KERNEL), (1, 8, 8))
    with pytest.raises(UsageError, match="Kernel, or a text, got FixedMask"):
        pose(Task(name="deblur", kernel=MASK), (1, 8, 8))


def test_json_has_words_for_content_and_records_the_content() -> None:
    task = Task(name="deblur", noise=0.1, kernel=KERNEL)
    words = json.loads(task.model_dump_json(exclude_none=True))
    assert words == {"task": "deblur", "noise": 0.1, "kernel": "the kernel of 'psf.npy'"}
    found = recorded_task({"task": task_record(task)})
    assert found is not None
    assert (found.name, found.noise) == ("deblur", 0.1)
    assert torch.equal(found.kernel.values, KERNEL.values)  # type: ignore[union-attr]


def test_records_have_every_field() -> None:
    names = {field.alias or name for name, field in Task.model_fields.items()}
    assert set(task_record(Task(name="denoise"))) == names
