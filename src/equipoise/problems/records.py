"""What a weights file says of the problem that it was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from equipoise.errors import WeightsError
from equipoise.problems.kernels import Kernel, kernel_from_tensor
from equipoise.problems.masks import FixedMask
from equipoise.settings.task import Task

#: What makes the content of a field from its entries in a record.
_CONTENTS = {"mask": FixedMask, "kernel": kernel_from_tensor}


def task_record(task: Task) -> dict[str, Any]:
    """The task as a record's entries, JSON-able but for the tensors of kernel and mask."""
    fields = Task.model_fields.items()
    return {field.alias or name: _entry(getattr(task, name)) for name, field in fields}


def recorded_task(record: Mapping[str, Any]) -> Task | None:
    """The task in a weights file's record; None if it has none.

    Files of format 1 may name a mask or kernel that they do not hold; the command line refuses
    that.

    Raises:
        WeightsError: if it is damaged.
    """
    found = record.get("task")
    if found is None:
        return None
    try:
        held = {
            name: make(**found[name])
            for name, make in _CONTENTS.items()
            if isinstance(found.get(name), dict)
        }
        return Task.model_validate({**found, **held})
    except Exception as error:  # whatever a field of another kind leads to
        raise WeightsError(
            "The task in the weights' record is damaged; name it with --task and its options."
        ) from error


def learned_noise(learned: Task | None, task: Task) -> float | None:
    """Standard deviation of the noise that weights were learned for, for images in [0, 1].

    Args:
        learned: the task of the weights' record.
        task: the problem that they are used for.

    Returns:
        None where it is another problem, or the record says nothing.
    """
    if learned is None or learned.name != task.name or learned.noise is None:
        return None
    return learned.noise / learned.span


def learned_values(record: Mapping[str, Any]) -> tuple[float, float]:
    """Between which numbers the images lay that weights were learned from; 0 and 1 if not said."""
    data = record.get("data")
    found = data.get("values") if isinstance(data, dict) else None
    if isinstance(found, list) and len(found) == 2 and all(isinstance(v, float) for v in found):
        return found[0], found[1]
    return 0.0, 1.0


def _entry(value: Any) -> Any:
    if isinstance(value, FixedMask):
        return {"origin": value.origin, "values": value.values.to("cpu", torch.uint8)}
    if isinstance(value, Kernel):
        return {"description": value.description, "values": value.values}
    return value
