"""One set of filters for several noise levels, each with a strength and a scale of its own.

All are trained together: every step takes some patches of each level, and the gradient of a level
is divided by its present mean squared error, so that all count alike in decibels. Patches may be
visited in pools, several times in short succession, while their last solutions are still good
starting points: a step then costs a fraction of one on new patches. A run that was stopped goes on
from its latest state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.reproduce.states import load_state, save_state
from equipoise.learn import PatchBank, TrainSettings
from equipoise.learn.schedules import (
    learning_rate_at,
    minibatch,
    share_done,
    tolerance_at,
    turns_at,
)
from equipoise.learn.step import accumulate_gradient
from equipoise.regularizers import Scaled
from equipoise.shipped.card import Level

#: Seconds between two saves, and between two lines.
SAVE, SAY = 120.0, 30.0
#: How much of a step's error enters the mean by which gradients are divided.
SHARE = 0.1


@dataclass(frozen=True)
class Pool:
    """How patches are visited: so many at a time, each so often, before the next ones.

    Args:
        patches: of a pool, a multiple of the mini-batch.
        visits: of each patch before the next pool.
    """

    patches: int
    visits: int

    def rows(self, step: int, count: int, size: int, seed: int) -> Tensor:
        """Rows of a step's mini-batch of ``size`` among ``count`` patches."""
        group, within = divmod(step, self.patches // size * self.visits)
        chosen = minibatch(group, count, self.patches, seed)
        return chosen[minibatch(within, len(chosen), size, seed + group)]

    def turns(self, step: int, rows: Tensor, count: int, choices: int, seed: int) -> Tensor:
        """For each row a symmetry that stays while the pool does, as R need not be symmetric."""
        group = step // (self.patches // len(rows) * self.visits)
        return turns_at(group, count, choices, seed)[rows]


@dataclass(frozen=True)
class Tuning:
    """How potentials are learned beside filters that are nearly known.

    Args:
        steps: the first ones, in which the filters stay as they are.
        rate: learning rate of potentials and scales in those.
        factor: of the learning rate after that, for potentials and scales.
        betas: decay rates of Adam's means; what the first steps see is soon forgotten.
    """

    steps: int
    rate: float
    factor: float
    betas: tuple[float, float] = (0.9, 0.99)


class Levels:
    """Scalings of one regulariser for several noise levels.

    Args:
        inner: the regulariser; its own strength and scale are not used.
        levels: noise, first strength and first scale of each.
        held: whether strengths stay as they are.
    """

    def __init__(self, inner: Scaled, levels: list[Level], *, held: bool = False) -> None:
        self.noises = [level.noise for level in levels]
        self.fields = [Scaled(inner.regularizer, each.strength, each.scale) for each in levels]
        for field in self.fields:
            field.log_strength.requires_grad_(not held)

    def parameters(self) -> list[Tensor]:
        """All that is learned, what is common once."""
        own = [p for field in self.fields for p in (field.log_strength, field.log_scale)]
        every = [*self.fields[0].regularizer.parameters(), *own]
        return [p for p in every if p.requires_grad]

    def filters(self) -> list[Tensor]:
        """Those of the parameters that make the features."""
        operator = getattr(self.fields[0].regularizer, "operator", None)
        assert isinstance(operator, nn.Module)
        return list(operator.parameters())

    def levels(self) -> list[Level]:
        """Strengths and scales as they are."""
        pairs = zip(self.noises, self.fields, strict=True)
        return [Level(noise=n, strength=field.strength, scale=field.scale) for n, field in pairs]


def train_levels(
    levels: Levels,
    banks: list[PatchBank],
    settings: TrainSettings,
    state: Path,
    validate: Callable[[Levels], list[float]],
    say: Callable[[str], None],
    pool: Pool | None = None,
    tuning: Tuning | None = None,
) -> dict[str, Any]:
    """Train; the levels hold the last weights afterwards.

    Args:
        levels: what is trained.
        banks: patches of each level; ``settings.batch_size`` are shared among them.
        settings: of the training, in mode bilevel or equilibrium.
        state: file that is written now and then, and read first if it is there.
        validate: PSNR of each level on held-out images.
        say: told of progress.
        pool: how patches are visited; None: all in turn.
        tuning: how potentials are learned; None: as the filters.

    Returns:
        The log, JSON-able.
    """
    parameters = levels.parameters()
    filters = {id(p) for p in levels.filters()} if tuning is not None else set()
    # In the order of the parameters, as states are read.
    groups = [{"params": [p], "filter": id(p) in filters} for p in parameters]
    betas = (0.9, 0.999) if tuning is None else tuning.betas
    optimizer = torch.optim.Adam(groups, lr=settings.learning_rate, betas=betas)
    log: dict[str, Any] = {"step": 0, "seconds": 0.0, "validation": []}
    errors = [0.0] * len(banks)
    facts = load_state(state, parameters, optimizer)
    if facts is not None:
        log, errors = facts["log"], facts["errors"]
        say(f"goes on at step {log['step']}")
    each = max(1, settings.batch_size // len(banks))
    saved_at = said_at = time.perf_counter()
    while (share := share_done(log["step"], log["seconds"], settings)) < 1:
        step, began = int(log["step"]), time.perf_counter()
        total = [torch.zeros_like(p) for p in parameters]
        evaluations = products = 0.0
        for index, (field, bank) in enumerate(zip(levels.fields, banks, strict=True)):
            optimizer.zero_grad(set_to_none=True)
            seed = settings.seed + index
            rows, turns = _visited(bank, pool, step, each, seed)
            report = accumulate_gradient(
                field, bank, rows, settings, tolerance_at(share, settings), turns
            )
            errors[index] += (SHARE if errors[index] else 1.0) * (report.mse - errors[index])
            for sum_, parameter in zip(total, parameters, strict=True):
                if parameter.grad is not None:
                    sum_ += parameter.grad / errors[index]
            evaluations += report.forward_evaluations / len(banks)
            products += report.adjoint_products / len(banks)
        for sum_, parameter in zip(total, parameters, strict=True):
            parameter.grad = sum_
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip))
        for group in optimizer.param_groups:
            rate = learning_rate_at(step, share, settings)
            group["lr"] = rate if tuning is None else _tuned(tuning, step, rate, group["filter"])
        if norm < float("inf"):
            optimizer.step()
        log["step"] = step + 1
        log["seconds"] += time.perf_counter() - began
        last = share_done(log["step"], log["seconds"], settings) == 1
        if last or log["step"] % settings.validate_every == 0:
            log["validation"].append([log["step"], log["seconds"], *validate(levels)])
            say(f"step {log['step']}: {', '.join(f'{p:.3f}' for p in log['validation'][-1][2:])}")
        if time.perf_counter() > said_at + SAY:
            said_at = time.perf_counter()
            say(
                f"step {log['step']} of {settings.steps}, {log['seconds']:.0f} s, evaluations "
                f"{evaluations:.1f}, products {products:.1f}, gradient {norm:.2g}"
            )
        if last or time.perf_counter() > saved_at + SAVE:
            saved_at = time.perf_counter()
            save_state(state, parameters, optimizer, {"log": log, "errors": errors})
    return log


def _tuned(tuning: Tuning, step: int, rate: float, is_filter: bool) -> float:
    """The learning rate of filters or of the rest, where without tuning it is ``rate``."""
    if step < tuning.steps:
        return 0.0 if is_filter else tuning.rate
    return rate if is_filter else tuning.factor * rate


def _visited(
    bank: PatchBank, pool: Pool | None, step: int, size: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Rows of a step's mini-batch, and a symmetry for each."""
    count, choices = len(bank), len(bank.symmetries)
    if pool is None:
        return minibatch(step, count, size, seed), turns_at(step, size, choices, seed)
    rows = pool.rows(step, count, size, seed)
    return rows, pool.turns(step, rows, count, choices, seed)
