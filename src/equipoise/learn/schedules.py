"""What changes from step to step by rule: mini-batches, turns, learning rate, tolerance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.settings.training import TrainSettings

#: Gap that the learning rate's cosine ends at, relative to its start.
FINAL_RATE = 0.02


def minibatch(step: int, count: int, size: int, seed: int) -> Tensor:
    """Rows of a step's mini-batch: epochs of random permutations, a function of the step alone."""
    size = min(size, count)
    per_epoch = count // size
    epoch, position = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + epoch)
    order = torch.randperm(count, generator=generator)
    return order[position * size : (position + 1) * size]


def turns_at(step: int, size: int, choices: int, seed: int) -> Tensor:
    """For each patch of a step's mini-batch one of so many symmetries, a function of the step."""
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) - step - 1)
    return torch.randint(choices, (size,), generator=generator)


def share_done(step: int, seconds: float, settings: TrainSettings) -> float:
    """Share of the training that is done, in [0, 1], by steps or by time if that ends sooner."""
    by_steps = step / settings.steps
    by_time = seconds / settings.time_budget if settings.time_budget is not None else 0.0
    return min(1.0, max(by_steps, by_time))


def tolerance_at(share: float, settings: TrainSettings) -> float:
    """Relative residual asked for at a share of the training: geometric over its first half."""
    share = min(1.0, 2.0 * share)
    first = max(settings.first_tolerance, settings.tolerance)
    return float(first ** (1.0 - share) * settings.tolerance**share)


def learning_rate_at(step: int, share: float, settings: TrainSettings) -> float:
    """Learning rate of a step at a share of the training, with linear warm-up over steps."""
    rate = settings.learning_rate * min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.schedule == "cosine":
        return rate * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * share)))
    if settings.schedule == "step":
        return rate * (1.0 if share < 0.5 else 1 / 3 if share < 0.75 else 1 / 9)
    return rate
