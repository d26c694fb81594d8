"""Train any regulariser in any mode; resume exactly; return weights that converge."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise.decoding import decoding
from equipoise.environment import run_id
from equipoise.errors import ConvergenceError, UsageError, WeightsError
from equipoise.learn.bank import PatchBank, shortage
from equipoise.learn.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    grouped,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
)
from equipoise.learn.log import Log, Progress, TrainingResult
from equipoise.learn.phases import main_phase, pretraining_phase
from equipoise.learn.saving import Saving
from equipoise.learn.schedules import learning_rate_at, minibatch, tolerance_at, turns_at
from equipoise.learn.sketch import agrees, sketch
from equipoise.learn.source_condition import SourceLoss, fix_size, settle_strength
from equipoise.learn.stability import hold_uniqueness, restrainable
from equipoise.learn.step import (
    StepReport,
    accumulate_gradient,
    accumulate_source_gradient,
    check_mode,
)
from equipoise.learn.validation import Validation
from equipoise.modes import learning_verb
from equipoise.regularizers import Scaled
from equipoise.regularizers.base import Regularizer
from equipoise.settings.training import SOURCE, TrainSettings
from equipoise.threads import Pace, at_most

#: What is said of weights whose strength was searched for in vain.
STRENGTH_AT_LIMIT = (
    "The search for the strength ended at its limit, so a better one may lie beyond: try the "
    "weights with alpha below and above 1."
)


@learning_verb
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
    ``grad D(A x_i, y_i) + R(x_i) = 0`` (alpha = 1: the strength is learned in R). In mode
    ``source-condition`` minimise :class:`SourceLoss` instead; the strength is then searched for on
    training patches, at every validation and in the end.

    Args:
        regularizer: the field; trained in place.
        bank: training patches with their measurements (see ``fill_bank``).
        validation: held-out images; weights under which one of them does not converge are never
            returned.
        settings: mode, steps, tolerances and the rest.
        checkpoint: file that is written now and then (see :class:`~equipoise.learn.saving.Saving`)
            and in the end, and read first if it is there.
        on_progress: called after every step.

    Returns:
        The result; ``result.regularizer`` is the one that was passed, with the chosen weights.

    Raises:
        HypothesisError: if the mode does not suit the regulariser.
        UsageError: if the source condition is to train a field that is not ``Scaled``.
        WeightsError: if the checkpoint is unreadable or belongs to other settings.
        ConvergenceError: if no weights were found under which every validation image converges.
    """
    check_mode(regularizer, settings)
    run = _Training(regularizer, bank, validation, settings)
    saving = Saving(checkpoint, settings.checkpoint_seconds, run.snapshot)
    if checkpoint is not None and checkpoint.exists():
        run.restore(read_checkpoint(checkpoint), checkpoint)
    else:
        run.prepare()
        run.validate()
    with saving:
        while (stopped := run.reason_to_stop()) is None:
            run.advance()
            if run.due_for_validation():
                run.validate()
            if on_progress is not None:
                on_progress(run.progress())
            saving.after_step()
        saving.save()
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
        self.notes: tuple[str, ...] = ()
        self.report: StepReport | None = None
        self.pace = Pace()
        self.phase = pretraining_phase(settings) or main_phase(settings, 0, 0.0)
        #: The strength on top of R's own, which the source condition leaves open.
        self.alpha = 1.0
        #: Whether the search for it ended at its limit: the latest, and that of the best weights.
        self.at_limit = self.best_at_limit = False
        self.source: SourceLoss | None = None
        if SOURCE in (settings.mode, settings.pretrain):
            self.source = SourceLoss(bank.problem, bank.truth[:1], settings)

    @property
    def sourcing(self) -> bool:
        """Whether the source condition's loss is minimised now."""
        return self.phase.settings.mode == SOURCE

    def prepare(self) -> None:
        """Give R the size that the source condition's loss asks for, alpha the inverse."""
        if self.source is not None:
            assert isinstance(self.regularizer, Scaled)
            self.alpha = fix_size(self.regularizer, self.source, self.bank)

    def advance(self) -> None:
        """Take one optimisation step."""
        started = time.perf_counter()
        threads = self.pace.choice()
        with at_most(threads):
            self._take_step()
        self.step += 1
        seconds = time.perf_counter() - started
        self.seconds += seconds
        assert self.report is not None
        work = 1.0 + self.report.forward_evaluations + self.report.adjoint_products
        self.pace.learn(threads, seconds / work)
        self.log.add(self.report, self.seconds)
        if not self.phase.last and self.phase.limit_reached(self.step, self.seconds):
            self.end_pretraining()

    def _take_step(self) -> None:
        settings = self.phase.settings
        self.optimizer.zero_grad(set_to_none=True)
        share = self.phase.share_done(self.step, self.seconds)
        rows = minibatch(self.step, len(self.bank), settings.batch_size, settings.seed)
        turns = None
        if settings.augment:
            turns = turns_at(self.step, len(rows), len(self.bank.symmetries), settings.seed)
        if self.sourcing:
            assert self.source is not None
            self.report = accumulate_source_gradient(
                self.regularizer, self.bank, rows, self.source, self.step, turns
            )
        else:
            tolerance = tolerance_at(share, settings)
            self.report = accumulate_gradient(
                self.regularizer, self.bank, rows, settings, tolerance, turns
            )
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        finite = [torch.isfinite(g).all() for g in gradients]
        if finite and bool(torch.stack(finite).all()):
            torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate_at(self.step - self.phase.first_step, share, settings)
            self.optimizer.step()
            self.restrain()

    def restrain(self) -> None:
        """Hold an untied pair where uniqueness is proved."""
        if self.settings.norm_control and restrainable(self.regularizer):
            equation = self.bank.equation(self.regularizer, self.bank.y[:1], self.alpha)
            hold_uniqueness(self.regularizer, equation)

    def settle(self) -> None:
        """Search for alpha on training patches and make it part of R's strength."""
        assert isinstance(self.regularizer, Scaled)
        tuned = settle_strength(self.regularizer, self.bank, self.alpha)
        self.alpha = 1.0
        self.restrain()
        self.alpha, self.at_limit = tuned.alpha, tuned.at_limit

    def end_pretraining(self) -> None:
        """Go over to the mode itself: the strength becomes part of R, the optimiser a new one."""
        started = time.perf_counter()
        self.settle()
        self.alpha = 1.0
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.settings.learning_rate)
        self.seconds += time.perf_counter() - started
        self.phase = main_phase(self.settings, self.step, self.seconds)

    def validate(self) -> None:
        """Measure held-out images; remember the weights if all converge (and are the best).

        In the mode ``source-condition`` the strength is searched for before; only the last search,
        which makes the weights that are returned, counts as training time.
        """
        untuned = copy.deepcopy(self.regularizer.state_dict()) if self.sourcing else None
        if untuned is not None:
            last, started = self.reason_to_stop() is not None, time.perf_counter()
            self.settle()
            self.seconds += (time.perf_counter() - started) if last else 0.0
        value, converged = self.validation.measure(self.regularizer)
        self.log.validation_step.append(self.step)
        self.log.validation_psnr.append(value)
        self.log.validation_converged.append(converged)
        better = value > self.best_psnr or self.settings.patience is None
        if converged == 1.0 and better:
            self.best_psnr, self.best_step = value, self.step
            self.best_at_limit = self.sourcing and self.at_limit
            self.best = copy.deepcopy(self.regularizer.state_dict())
        if untuned is not None:
            self.regularizer.load_state_dict(untuned)

    def due_for_validation(self) -> bool:
        """Whether this step ends a validation interval, pretraining, or the training."""
        begins = self.step == self.phase.first_step
        interval = self.step % self.settings.validate_every == 0
        return begins or interval or self.reason_to_stop() is not None

    def reason_to_stop(self) -> str | None:
        """Why training ends now, or None."""
        if not self.phase.last:
            return None
        reached = self.phase.limit_reached(self.step, self.seconds)
        if reached is not None:
            return reached
        settings = self.settings
        if settings.patience is not None:
            since = self.step - max(self.best_step, self.phase.first_step)
            if since >= settings.patience * settings.validate_every:
                return f"no gain on the validation images for {settings.patience} validations"
        return None

    def progress(self) -> Progress:
        """What a progress bar shows now."""
        assert self.report is not None
        latest = self.log.validation_psnr[-1] if self.log.validation_psnr else float("nan")
        return Progress(self.step, self.settings.total_steps, self.report, latest, self.seconds)

    def finish(self, stopped: str) -> TrainingResult:
        """Put the best weights back."""
        if self.best_step < 0:
            raise ConvergenceError(
                "No weights were found under which every validation image converges: lower the "
                "learning rate, raise jacobian_penalty, or use a contractive or tied regularizer."
            )
        self.regularizer.load_state_dict(self.best)
        short = shortage(self.bank, self.settings)
        limit = STRENGTH_AT_LIMIT if self.best_at_limit else None
        return TrainingResult(
            self.regularizer,
            self.log,
            self.seconds,
            self.step,
            self.best_step,
            self.best_psnr,
            stopped,
            self.phase.first_step,
            self.phase.first_second,
            (*self.notes, *(note for note in (short, limit) if note is not None)),
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
                "data": {name: sketch(batch) for name, batch in self._data().items()},
            }
        )
        facts: dict[str, object] = {
            "run": run_id(),
            "settings": self._fingerprint(),
            "step": self.step,
            "seconds": self.seconds,
            "best_step": self.best_step,
            "best_psnr": self.best_psnr,
            "best_at_limit": self.best_at_limit,
            "alpha": self.alpha,
            "pretraining": not self.phase.last,
            "phase_began": [self.phase.first_step, self.phase.first_second],
            "log": vars(self.log),
        }
        return Checkpoint(tensors, facts)

    def restore(self, saved: Checkpoint, path: Path) -> None:
        """Go on from a snapshot.

        Raises:
            WeightsError: if it was made with something else, or is damaged.
        """
        with decoding(path, "checkpoint", WeightsError, CHECKPOINT.remedy):
            self._refuse_other(saved, path)
            self._take(saved)

    def _refuse_other(self, saved: Checkpoint, path: Path) -> None:
        advice = "delete it, or choose another output."
        if saved.facts.get("settings") != self._fingerprint():
            raise WeightsError(
                f"The checkpoint {path} was made with other settings or data; {advice}"
            )
        known = saved.group("data")
        if not known:
            self.notes = (
                f"Went on from {path.name}, which an older version of equipoise wrote: it does not "
                "say by content with which kernel, mask or operator it was made.",
            )
            return
        other = [name for name, batch in self._data().items() if not agrees(known.get(name), batch)]
        if other:
            raise WeightsError(
                f"The checkpoint {path} was made with other settings or data: under the same names "
                f"there are other {' and other '.join(other)} now, so images, noise, kernel, mask "
                f"or operator changed; put them back, {advice}"
            )

    def _take(self, saved: Checkpoint) -> None:
        facts: dict[str, Any] = saved.facts
        self.regularizer.load_state_dict(saved.group("weights"))
        self.best = saved.group("best")
        restore_optimizer(self.optimizer, saved.group("optimizer"))
        self.bank.restore(saved.group("bank"))
        self.validation.x.copy_(saved.group("validation")["x"])
        self.step, self.seconds = int(facts["step"]), float(facts["seconds"])
        self.best_step, self.best_psnr = int(facts["best_step"]), float(facts["best_psnr"])
        self.best_at_limit = bool(facts.get("best_at_limit", False))
        self.alpha = float(facts["alpha"])
        if not facts["pretraining"]:
            step, second = facts["phase_began"]
            self.phase = main_phase(self.settings, int(step), float(second))
        self.log = Log(**facts["log"])

    def _data(self) -> dict[str, Tensor]:
        """Images and measurements, which a checkpoint tells by content."""
        bank, held_out = self.bank, self.validation
        return {
            "training images": bank.truth,
            "measurements": bank.y,
            "validation images": held_out.truth,
            "validation measurements": held_out.y,
        }

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
