"""Train any regulariser in any mode; resume exactly; return weights that converge."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from equipoise.equation import Equation
from equipoise.errors import ConvergenceError, UsageError, WeightsError
from equipoise.learn.bank import PatchBank
from equipoise.learn.checkpoint import (
    Checkpoint,
    grouped,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from equipoise.learn.settings import TrainSettings
from equipoise.learn.stability import hold_uniqueness
from equipoise.learn.step import StepReport, accumulate_gradient, check_mode
from equipoise.learn.validation import Validation
from equipoise.regularizers.base import Regularizer

#: Gap that the learning rate's cosine ends at, relative to its start.
FINAL_RATE = 0.02


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows after each step.

    Args:
        step: steps done.
        steps: steps in all.
        report: what the step measured.
        psnr: latest validation PSNR in dB, NaN before the first.
        seconds: training seconds so far (validation not counted).
    """

    step: int
    steps: int
    report: StepReport
    psnr: float
    seconds: float


@dataclass
class Log:
    """One entry per step, or per validation where the name says so."""

    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    adjoint: list[float] = field(default_factory=list)
    converged: list[float] = field(default_factory=list)
    usable: list[float] = field(default_factory=list)
    validation_step: list[int] = field(default_factory=list)
    validation_psnr: list[float] = field(default_factory=list)
    validation_converged: list[float] = field(default_factory=list)

    def add(self, report: StepReport, seconds: float) -> None:
        """Append one step."""
        self.loss.append(report.loss)
        self.seconds.append(seconds)
        self.forward.append(report.forward_evaluations)
        self.adjoint.append(report.adjoint_products)
        self.converged.append(report.converged)
        self.usable.append(report.usable)


@dataclass(frozen=True)
class TrainingResult:
    """A trained regulariser and how it came about.

    Args:
        regularizer: the field with the chosen weights: the latest under which every validation
            image converged or, with early stopping, those of them with the best PSNR.
        log: what was measured at every step.
        seconds: training time without validation.
        steps: steps taken.
        best_step: step whose weights were chosen.
        best_psnr: their validation PSNR in dB.
        stopped: why training ended, in words.
    """

    regularizer: Regularizer
    log: Log
    seconds: float
    steps: int
    best_step: int
    best_psnr: float
    stopped: str

    def mean(self, what: str) -> float:
        """Mean over steps of one of the log's lists, NaN entries left out."""
        values = [v for v in getattr(self.log, what) if math.isfinite(v)]
        return sum(values) / len(values) if values else float("nan")


def train(
    regularizer: Regularizer,
    bank: PatchBank,
    validation: Validation,
    settings: TrainSettings,
    *,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Learn R so that solutions of the equation come close to the truth.

    Formula: minimise ``mean_i loss(x_i, truth_i)`` over R's parameters, where
    ``grad D(A x_i, y_i) + R(x_i) = 0`` (alpha = 1: the strength is learned in R).

    Args:
        regularizer: the field; trained in place.
        bank: training patches with their measurements (see ``fill_bank``).
        validation: held-out images; weights under which one of them does not converge are never
            returned.
        settings: mode, steps, tolerances and the rest.
        checkpoint: file that is written now and then and read first if it is there.
        on_progress: called after every step.

    Returns:
        The result; ``result.regularizer`` is the one that was passed, with the chosen weights.

    Raises:
        HypothesisError: if the mode does not suit the regulariser.
        WeightsError: if the checkpoint is unreadable or belongs to other settings.
        ConvergenceError: if no weights were found under which every validation image converges.
    """
    check_mode(regularizer, settings)
    run = _Training(regularizer, bank, validation, settings)
    if checkpoint is not None and checkpoint.exists():
        run.restore(read_checkpoint(checkpoint), checkpoint)
    else:
        run.validate()
    saved = time.perf_counter()
    while (stopped := run.reason_to_stop()) is None:
        run.advance()
        if run.due_for_validation():
            run.validate()
        if on_progress is not None:
            on_progress(run.progress())
        if checkpoint is not None and time.perf_counter() - saved > settings.checkpoint_seconds:
            write_checkpoint(checkpoint, run.snapshot())
            saved = time.perf_counter()
    return run.finish(stopped)


class _Training:
    """A run in progress: what changes from step to step."""

    def __init__(
        self,
        regularizer: Regularizer,
        bank: PatchBank,
        validation: Validation,
        settings: TrainSettings,
    ) -> None:
        self.regularizer, self.bank = regularizer, bank
        self.validation, self.settings = validation, settings
        self.parameters = [p for p in regularizer.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.learning_rate)
        self.step, self.seconds, self.log = 0, 0.0, Log()
        self.best_step, self.best_psnr = -1, -math.inf
        self.best = copy.deepcopy(regularizer.state_dict())
        self.report: StepReport | None = None

    def advance(self) -> None:
        """Take one optimisation step."""
        started = time.perf_counter()
        settings = self.settings
        self.optimizer.zero_grad(set_to_none=True)
        share = share_done(self.step, self.seconds, settings)
        rows = minibatch(self.step, len(self.bank), settings.batch_size, settings.seed)
        self.report = accumulate_gradient(
            self.regularizer, self.bank, rows, settings, tolerance_at(share, settings)
        )
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if gradients and all(bool(torch.isfinite(g).all()) for g in gradients):
            torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate_at(self.step, share, settings)
            self.optimizer.step()
            if settings.norm_control:
                equation = Equation(self.bank.physics, self.bank.y[:1], self.regularizer)
                hold_uniqueness(self.regularizer, equation)
        self.step += 1
        self.seconds += time.perf_counter() - started
        self.log.add(self.report, self.seconds)

    def validate(self) -> None:
        """Measure held-out images; remember the weights if all converge (and are the best)."""
        value, converged = self.validation.measure(self.regularizer)
        self.log.validation_step.append(self.step)
        self.log.validation_psnr.append(value)
        self.log.validation_converged.append(converged)
        better = value > self.best_psnr or self.settings.patience is None
        if converged == 1.0 and better:
            self.best_psnr, self.best_step = value, self.step
            self.best = copy.deepcopy(self.regularizer.state_dict())

    def due_for_validation(self) -> bool:
        """Whether this step ends a validation interval or the training."""
        return self.step % self.settings.validate_every == 0 or self.reason_to_stop() is not None

    def reason_to_stop(self) -> str | None:
        """Why training ends now, or None."""
        settings = self.settings
        if self.step >= settings.steps:
            return f"{settings.steps} steps done"
        if settings.time_budget is not None and self.seconds >= settings.time_budget:
            return f"time budget of {settings.time_budget:g} s spent"
        if settings.patience is not None:
            since = self.step - max(self.best_step, 0)
            if since >= settings.patience * settings.validate_every:
                return f"no gain on the validation images for {settings.patience} validations"
        return None

    def progress(self) -> Progress:
        """What a progress bar shows now."""
        assert self.report is not None
        latest = self.log.validation_psnr[-1] if self.log.validation_psnr else float("nan")
        return Progress(self.step, self.settings.steps, self.report, latest, self.seconds)

    def finish(self, stopped: str) -> TrainingResult:
        """Put the best weights back."""
        if self.best_step < 0:
            raise ConvergenceError(
                "No weights were found under which every validation image converges: lower the "
                "learning rate, raise jacobian_penalty, or use a contractive or tied regularizer."
            )
        self.regularizer.load_state_dict(self.best)
        return TrainingResult(
            self.regularizer,
            self.log,
            self.seconds,
            self.step,
            self.best_step,
            self.best_psnr,
            stopped,
        )

    def snapshot(self) -> Checkpoint:
        """The state between two steps."""
        tensors = grouped(
            {
                "weights": self.regularizer.state_dict(),
                "best": self.best,
                "optimizer": optimizer_tensors(self.optimizer),
                "bank": self.bank.warm_starts(),
                "validation": {"x": self.validation.x},
            }
        )
        facts: dict[str, object] = {
            "settings": self._fingerprint(),
            "step": self.step,
            "seconds": self.seconds,
            "best_step": self.best_step,
            "best_psnr": self.best_psnr,
            "log": vars(self.log),
        }
        return Checkpoint(tensors, facts)

    def restore(self, saved: Checkpoint, path: Path) -> None:
        """Go on from a snapshot."""
        facts = saved.facts
        if facts["settings"] != self._fingerprint():
            raise WeightsError(
                f"The checkpoint {path} was made with other settings or data; "
                "delete it, or choose another output."
            )
        self.regularizer.load_state_dict(saved.group("weights"))
        self.best = saved.group("best")
        restore_optimizer(self.optimizer, saved.group("optimizer"))
        self.bank.restore(saved.group("bank"))
        self.validation.x.copy_(saved.group("validation")["x"])
        self.step, self.seconds = int(str(facts["step"])), float(str(facts["seconds"]))
        self.best_step = int(str(facts["best_step"]))
        self.best_psnr = float(str(facts["best_psnr"]))
        log = facts["log"]
        assert isinstance(log, dict)
        self.log = Log(**log)

    def _fingerprint(self) -> dict[str, object]:
        """What must agree for a checkpoint to be continued."""
        settings = self.settings.model_dump(mode="json")
        for free in ("time_budget", "checkpoint_seconds"):
            settings.pop(free)
        return {
            **settings,
            "problem": self.bank.problem.description,
            "data": float(self.bank.truth.double().sum()),
            "held_out": float(self.validation.truth.double().sum()),
            "tolerances": [self.validation.tolerance, self.validation.max_evaluations],
            "regularizer": _described(self.regularizer),
            "shapes": {name: list(t.shape) for name, t in self.regularizer.state_dict().items()},
        }


def _described(regularizer: Regularizer) -> object:
    """The configuration, or for fields of no catalogue what PyTorch prints of them."""
    try:
        return regularizer.config
    except UsageError:
        return repr(regularizer)


def minibatch(step: int, count: int, size: int, seed: int) -> Tensor:
    """Rows of a step's mini-batch: epochs of random permutations, a function of the step alone."""
    size = min(size, count)
    per_epoch = count // size
    epoch, position = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + epoch)
    order = torch.randperm(count, generator=generator)
    return order[position * size : (position + 1) * size]


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
