"""Everything a training run needs to go on after a kill, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.tensor_files import Kind, read_tensors, write_tensors

#: Format 1 had no checksum, and did not say by content what was measured.
CHECKPOINT = Kind(
    "equipoise-checkpoint/",
    2,
    foreign="is not a checkpoint of equipoise; delete it to train from the start",
    remedy="delete it to train from the start",
)


@dataclass(frozen=True)
class Checkpoint:
    """A training run between two steps.

    Args:
        tensors: named groups flattened as ``group/name``.
        facts: JSON-able rest (step, seconds, log, settings, fingerprint of the task).
    """

    tensors: dict[str, Tensor]
    facts: dict[str, object]

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one group, without its prefix."""
        prefix = name + "/"
        return {k[len(prefix) :]: v for k, v in self.tensors.items() if k.startswith(prefix)}


def grouped(groups: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Flatten named groups of tensors to ``group/name``."""
    return {
        f"{group}/{name}": tensor
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: the previous checkpoint stays intact until the new one is complete."""
    write_tensors(path, CHECKPOINT, checkpoint.tensors, {"facts": json.dumps(checkpoint.facts)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, of this or an older format.

    Raises:
        WeightsError: if the file is unreadable, truncated, something else, of a newer format, or
            not as it was written.
    """
    file = read_tensors(path, CHECKPOINT)
    return Checkpoint(file.tensors, file.parsed("facts"))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as ``index.key`` tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, entries in state.items()
        for key, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the tensors of :func:`optimizer_tensors` back.

    Raises:
        InputError: if they belong to another set of parameters.
    """
    packed = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    count = sum(len(group["params"]) for group in packed["param_groups"])
    if state and max(state) >= count:
        raise InputError("The checkpoint belongs to another regulariser.")
    packed["state"] = state
    optimizer.load_state_dict(packed)
