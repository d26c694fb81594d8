"""One training run from options to a weights file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from equipoise.cli.jobs import LearningJob
from equipoise.cli.outputs import Rescue
from equipoise.cli.progress import TrainingBars
from equipoise.compare.methods import CANDIDATES
from equipoise.environment import run_id, versions
from equipoise.errors import UnknownNameError
from equipoise.learn import TrainingResult, TrainSettings, learn
from equipoise.learn.rates import suited
from equipoise.problems import DataSplit, FixedMask, Problem
from equipoise.problems.pose import choose_device, images_of, pose
from equipoise.problems.records import task_record
from equipoise.regularizers import NAMES, build, save_regularizer


def learn_and_save(job: LearningJob, console: Console) -> TrainingResult:
    """Train, write the weights file, remove the checkpoint, say what came out.

    Args:
        job: what to do; its checkpoint is continued if it is there.
        console: where the result is said.

    Raises:
        UnknownNameError: if the regulariser, mode, loss or device does not exist.
        WeightsError: if the checkpoint belongs to another run.
        ConvergenceError: if no weights let every validation image converge.
        OutputError: if the weights could not be written where they belong; they are kept
            elsewhere, and the checkpoint stays.
    """
    scaled = job.task.scaled_for(job.validation_crop)
    job = job.model_copy(update={"task": scaled})
    name, config = named_regularizer(job.regularizer, job.arguments)
    built = build(name, **config)
    mode = job.settings.get("mode", "bilevel" if built.gradient_field else "equilibrium")
    settings = suited(name, mode, job.settings)
    device = choose_device(job.device)
    channels = built.channels or 1
    images = images_of(job.data, colour=channels == 3, data_range=job.task.range).usable(
        settings.patch_size, job.validation_crop
    )
    mask, size = job.task.mask, (settings.patch_size, settings.patch_size)
    if isinstance(mask, FixedMask):  # patches take parts of it
        size = (mask.values.shape[0], mask.values.shape[1])
    problem = pose(job.task, (images.channels, *size), seed=settings.seed, device=device)
    for note in (*images.notes, *problem.notes):
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
        bars.ended(f"validation PSNR {result.best_psnr:.2f} dB")
    record = training_record(job, problem, images, settings, result)
    rescue = Rescue()
    rescue.write(job.out, lambda path: save_regularizer(path, result.regularizer, record))
    rescue.finish()
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


def named_regularizer(
    name: str, arguments: dict[str, Any], others: Iterable[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Catalogue name and constructor arguments of what a user names.

    Args:
        name: a candidate of the comparison (with its arguments there), or any catalogue name.
        arguments: override the candidate's.
        others: further names that are valid where this one is asked for.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name in CANDIDATES:
        return CANDIDATES[name].name, {**CANDIDATES[name].config, **arguments}
    if name not in NAMES:
        raise UnknownNameError("regularizer", name, {*NAMES, *CANDIDATES, *others})
    return name, arguments


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
        "task": task_record(job.task) | {"noise": problem.sigma * job.task.span},
        "problem": problem.description,
        "data": {
            "name": images.name,
            "channels": images.channels,
            "values": list(images.values),
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
            "run": run_id(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "device": str(problem.device),
        },
    }
