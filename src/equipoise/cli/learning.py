"""One training run from options to a weights file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from equipoise.cli.progress import TrainingBars
from equipoise.cli.tasks import TaskOptions
from equipoise.compare import CompareSettings
from equipoise.compare.methods import CANDIDATES
from equipoise.environment import versions
from equipoise.errors import UnknownNameError
from equipoise.learn import TrainingResult, TrainSettings, learn
from equipoise.learn.rates import usual_learning_rate, usual_validation_interval
from equipoise.learn.settings import SOURCE, Loss, Mode
from equipoise.problems import DataSplit, FixedMask, Problem
from equipoise.problems.pose import choose_device, images_of
from equipoise.regularizers import NAMES, build, save_regularizer

#: Where the comparison's choices are ours, too.
VALIDATION_CROP: int = CompareSettings.model_fields["validation_crop"].default
JACOBIAN_PENALTY: float = CompareSettings.model_fields["jacobian_penalty"].default


@dataclass(frozen=True)
class LearningJob:
    """What ``equipoise train`` was asked to do.

    Args:
        regularizer: name of a candidate of the comparison or of the catalogue.
        arguments: constructor arguments that differ from the usual ones.
        task: the inverse problem.
        data: folder of images; None takes the embedded photographs.
        settings: training settings that were given.
        validation_crop: side of the validation crops.
        device: auto, cpu or cuda.
        out: the weights file.
    """

    regularizer: str
    arguments: dict[str, Any]
    task: TaskOptions
    data: str | None
    settings: dict[str, Any]
    validation_crop: int
    device: str
    out: Path

    @property
    def checkpoint(self) -> Path:
        """The file that lies next to the output while learning."""
        return self.out.with_name(f"{self.out.stem}.checkpoint{self.out.suffix}")


def learn_and_save(job: LearningJob, console: Console) -> TrainingResult:
    """Train, write the weights file, remove the checkpoint, say what came out.

    Args:
        job: what to do; its checkpoint is continued if it is there.
        console: where the result is said.

    Raises:
        UnknownNameError: if the regulariser, mode, loss or device does not exist.
        WeightsError: if the checkpoint belongs to another run.
        ConvergenceError: if no weights let every validation image converge.
    """
    name, config = named_regularizer(job.regularizer, job.arguments)
    usual = {"learning_rate": usual_learning_rate(name)}
    settings = train_settings({**usual, **job.settings}, build(name, **config).gradient_field)
    device = choose_device(job.device)
    channels = build(name, **config).channels or 1
    images = images_of(job.data, colour=channels == 3)
    mask, size = job.task.mask, (settings.patch_size, settings.patch_size)
    if isinstance(mask, FixedMask):  # patches take parts of it
        size = (mask.values.shape[0], mask.values.shape[1])
    problem = job.task.problem((images.channels, *size), seed=settings.seed, device=device)
    for note in problem.notes:
        console.print(note, markup=False, soft_wrap=True)
    if job.checkpoint.exists():
        console.print(f"Going on from {job.checkpoint}.", markup=False, soft_wrap=True)
    with TrainingBars(settings.time_budget) as bars:
        bars.started(problem.name, f"{job.regularizer}, {settings.mode}", settings.total_steps)
        result = learn(
            name,
            config,
            problem,
            images.train,
            images.val,
            settings,
            validation_crop=job.validation_crop,
            checkpoint=job.checkpoint,
            on_progress=bars.advanced,
        )
    record = training_record(job, problem, images, settings, result)
    save_regularizer(job.out, result.regularizer, record)
    job.checkpoint.unlink(missing_ok=True)
    for note in result.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(
        f"Wrote {job.out}: {result.stopped} ({result.seconds:.0f} s); validation PSNR "
        f"{result.best_psnr:.2f} dB at step {result.best_step}, every validation image converged.",
        markup=False,
        soft_wrap=True,
    )
    return result


def named_regularizer(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Catalogue name and constructor arguments of what a user names.

    Args:
        name: a candidate of the comparison (with its arguments there), or any catalogue name.
        arguments: override the candidate's.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name in CANDIDATES:
        return CANDIDATES[name].name, {**CANDIDATES[name].config, **arguments}
    if name not in NAMES:
        raise UnknownNameError("regularizer", name, {*NAMES, *CANDIDATES})
    return name, arguments


def train_settings(given: dict[str, Any], gradient_field: bool) -> TrainSettings:
    """Settings with the mode that suits the field unless one was given.

    Raises:
        UnknownNameError: if mode, loss or pretraining does not exist.
    """
    usual = "bilevel" if gradient_field else "equilibrium"
    chosen = {"mode": usual, "jacobian_penalty": JACOBIAN_PENALTY, **given}
    names = (("mode", get_args(Mode)), ("loss", get_args(Loss)), ("pretrain", (SOURCE,)))
    for what, valid in names:
        if what in chosen and chosen[what] not in valid:
            raise UnknownNameError(what, chosen[what], valid)
    interval = {"validate_every": usual_validation_interval(chosen["mode"])}
    return TrainSettings(**{**interval, **chosen})


def training_record(
    job: LearningJob,
    problem: Problem,
    images: DataSplit,
    settings: TrainSettings,
    result: TrainingResult,
) -> dict[str, Any]:
    """What a weights file says about how it came about, JSON-able."""
    log = result.log
    return {
        "task": {**job.task.as_record(), "noise": problem.sigma},
        "problem": problem.description,
        "data": {
            "name": images.name,
            "channels": images.channels,
            "training_images": len(images.train),
            "validation_images": len(images.val),
            "validation_crop": job.validation_crop,
        },
        "settings": settings.model_dump(mode="json"),
        "training": {
            "steps": result.steps,
            "seconds": result.seconds,
            "pretrain_steps": result.pretrain_steps,
            "pretrain_seconds": result.pretrain_seconds,
            "stopped": result.stopped,
            "notes": list(result.notes),
            "best_step": result.best_step,
            "validation_psnr": result.best_psnr,
            "forward_evaluations": result.mean("forward"),
            "adjoint_products": result.mean("adjoint"),
            "loss": log.loss,
            "validation_steps": log.validation_step,
            "validation_psnrs": log.validation_psnr,
        },
        "provenance": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "device": str(problem.device),
        },
    }
