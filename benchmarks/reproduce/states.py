"""What a training that is stopped goes on from: parameters, optimiser, facts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise.learn.checkpoint import (
    Checkpoint,
    grouped,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)


def save_state(
    path: Path,
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    facts: dict[str, Any],
) -> None:
    """Write a state; facts are JSON-able."""
    weights = {str(index): p.detach() for index, p in enumerate(parameters)}
    tensors = grouped({"weights": weights, "optimizer": optimizer_tensors(optimizer)})
    write_checkpoint(path, Checkpoint(tensors, facts))


def load_state(
    path: Path, parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Restore parameters and optimiser and give the facts; None where there is no state."""
    if not path.exists():
        return None
    saved = read_checkpoint(path)
    with torch.no_grad():
        for index, parameter in enumerate(parameters):
            parameter.copy_(saved.group("weights")[str(index)])
    restore_optimizer(optimizer, saved.group("optimizer"))
    return saved.facts
