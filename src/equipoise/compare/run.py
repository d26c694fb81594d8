"""The main job: train and tune every method on every task, restore, score."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from equipoise.compare.anatomy import anatomy
from equipoise.compare.bootstrap import bootstrap_interval
from equipoise.compare.evaluate import Evaluation, TestImage, evaluate, measure_tests, picture
from equipoise.compare.methods import MethodSpec, specs
from equipoise.compare.records import (
    Comparison,
    RunResult,
    RunSummary,
    TaskResult,
    TrainingCurve,
)
from equipoise.compare.settings import CompareSettings
from equipoise.environment import environment, run_id
from equipoise.errors import ConvergenceError, UsageError
from equipoise.learn import Progress, TrainingResult, TrainSettings, learn, make_validation
from equipoise.learn.rates import suited
from equipoise.learn.recipe import VALIDATION_SEED
from equipoise.metrics import SSIM_WINDOW
from equipoise.modes import learning_verb
from equipoise.problems import DataSplit, Problem
from equipoise.problems.pose import choose_device, images_of, pose
from equipoise.regularizers import Regularizer, build
from equipoise.settings.task import OWN, Task
from equipoise.settings.training import LearningSettings, Mode
from equipoise.shipped import pretrained

#: Baselines are solved in float64 to this relative residual.
BASELINE_TOLERANCE = 1e-5


class Observer(Protocol):
    """Somebody who watches a comparison: a progress bar."""

    def noted(self, words: str) -> None:
        """Something about the images, before the first run."""

    def started(self, task: str, label: str, steps: int) -> None:
        """A run begins; ``steps`` is 0 for baselines."""

    def advanced(self, progress: Progress) -> None:
        """A training step was taken."""

    def finished(self, summary: RunSummary) -> None:
        """A run is scored."""


class _Silence:
    """An observer that shows nothing."""

    def _ignore(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    noted = started = advanced = finished = _ignore


@dataclass(frozen=True)
class _Posed:
    """One task, measured: what every method is tried on."""

    name: str
    problem: Problem
    images: DataSplit
    tests: list[TestImage]
    settings: CompareSettings
    about_images: list[str]
    checkpoints: Path | None


@learning_verb
def run_comparison(
    settings: CompareSettings,
    *,
    observer: Observer | None = None,
    command: str = "run_comparison(settings)",
    checkpoints: Path | None = None,
) -> Comparison:
    """Compare ways of learning a regulariser on the user's own problem.

    Training, validation and test photographs are disjoint; every method sees the same
    measurements. A seed gives the same numbers on the same machine if steps, not time, limit
    training.

    Args:
        settings: what is compared, on what, for how long.
        observer: told of every run and every training step.
        command: what asked for it, for page and ``summary.json``.
        checkpoints: folder that keeps a checkpoint of every training, from which the same call
            goes on; None keeps none.

    Returns:
        Everything that the page and ``summary.json`` show.

    Raises:
        ConvergenceError: if no method of a task led to weights under which the held-out
            photographs converge; if some did, the others are the task's failures.
        EquipoiseError: for input that cannot be used; the message says what to do.
    """
    started = time.perf_counter()
    watch = _Silence() if observer is None else observer
    device = choose_device(settings.device)
    load = cache(partial(images_of, settings.data, crop=settings.crop))
    posed = [
        _pose(task, settings, load(data_range=task.range), device, checkpoints)
        for task in settings.tasks
    ]
    for note in dict.fromkeys(note for task in posed for note in task.about_images):
        watch.noted(note)
    tasks = [_run_task(task, watch) for task in posed]  # after all could be posed
    return Comparison(
        tasks=tasks,
        settings=settings.model_dump(mode="json"),
        environment=environment(device),
        seconds=time.perf_counter() - started,
        command=command,
        run=run_id(),
    )


def _pose(
    task: Task,
    settings: CompareSettings,
    images: DataSplit,
    device: torch.device,
    checkpoints: Path | None,
) -> _Posed:
    """Pose and measure, and refuse or leave out what cannot be learned from or scored.

    Raises:
        UsageError: for denoising without noise, where the measurement is the truth.
    """
    images = images.usable(settings.patch_size, settings.validation_crop, SSIM_WINDOW)
    shape = (images.channels, settings.crop, settings.crop)
    problem = pose(task, shape, seed=settings.seed, device=device)
    if problem.name == "denoise" and problem.sigma == 0:
        raise UsageError("Denoising without noise has nothing to restore: give a --noise above 0.")
    methods = specs(settings.methods, settings.regularizers)
    if task.name == OWN and any(spec.mode is None for spec in methods):
        problem.with_dtype(torch.float64)  # refused now, if at all, and not after other methods
    tests, left_out = measure_tests(problem, images.test, settings.seed)
    notes = [*images.notes, *left_out]
    return _Posed(task.name, problem, images, tests, settings, notes, checkpoints)


def _run_task(posed: _Posed, watch: Observer) -> TaskResult:
    settings, problem, tests = posed.settings, posed.problem, posed.tests
    runs, notes, failures = [], [*posed.about_images, *problem.notes], []
    for row, spec in enumerate(specs(settings.methods, settings.regularizers)):
        if spec.mode is None:
            watch.started(posed.name, spec.label, 0)
            result, note = _baseline(spec, posed)
            notes.append(note)
            watch.finished(result.summary)
            runs.append(result)
            continue
        for seed in range(settings.seed, settings.seed + settings.seeds):
            training = _training(spec, spec.mode, settings, seed)
            watch.started(posed.name, spec.label, training.total_steps)
            try:
                kept = f"{posed.name}-{row}-{spec.regularizer}-{spec.mode}-seed{seed}.safetensors"
                result = _learned(spec, posed, training, watch, kept)
            except ConvergenceError as error:  # the other methods' results are not lost
                failures.append(f"{spec.label}, seed {seed}: no result. {error}")
                continue
            watch.finished(result.summary)
            runs.append(result)
    if not runs:
        raise ConvergenceError(" ".join(failures))
    return TaskResult(
        task=posed.name,
        description=problem.description,
        truths={test.name: picture(test.truth) for test in tests},
        inputs={test.name: picture(test.degraded) for test in tests},
        runs=runs,
        notes=notes,
        failures=failures,
    )


def _baseline(spec: MethodSpec, posed: _Posed) -> tuple[RunResult, str]:
    started, settings = time.perf_counter(), posed.settings
    validation = make_validation(
        posed.problem,
        posed.images.val,
        size=settings.validation_crop,
        seed=settings.seed + VALIDATION_SEED,
        tolerance=BASELINE_TOLERANCE,
    )
    if spec.method == "pretrained":
        sigma, device = posed.problem.sigma or None, posed.problem.device
        regularizer = pretrained(spec.regularizer, sigma, device).double()
    else:
        regularizer = build(spec.regularizer, **spec.config)
    tolerance, limit = BASELINE_TOLERANCE, settings.max_evaluations
    tuned = validation.double().tune(regularizer, tolerance=tolerance, max_evaluations=limit)
    seconds = time.perf_counter() - started
    tests = [test.double() for test in posed.tests]
    found = evaluate(regularizer, tuned.alpha, tests, tolerance=tolerance, max_evaluations=limit)
    summary = _summary(
        spec,
        posed.name,
        regularizer,
        found,
        alpha=tuned.alpha,
        alpha_at_limit=tuned.at_limit,
        train_seconds=seconds,
        tolerance=tolerance,
        seed=settings.seed,
        steps=0,
        adjoint_evaluations=0.0,
    )
    note = (
        f"{spec.label}: strength {tuned.alpha:.4g} tuned on the validation photographs in "
        f"{tuned.solves} solves; {tuned.psnr:.2f} dB there, and at most {tuned.gap:.3f} dB less at "
        f"the ends of the final bracket; float64, relative residual {BASELINE_TOLERANCE:g}."
    )
    if tuned.at_limit:
        note += " The search ended at its limit there: a better strength may lie beyond."
    return RunResult(summary, found.reconstructions, None, found.trace), note


def _training(spec: MethodSpec, mode: Mode, settings: CompareSettings, seed: int) -> TrainSettings:
    shared = settings.model_dump(include=set(LearningSettings.model_fields))
    if mode == settings.pretrain:  # nothing comes before itself
        shared["pretrain"] = None
    return suited(spec.regularizer, mode, {**shared, "seed": seed})


def _learned(
    spec: MethodSpec, posed: _Posed, training: TrainSettings, watch: Observer, kept: str
) -> RunResult:
    settings = posed.settings
    result = learn(
        spec.regularizer,
        spec.config,
        posed.problem,
        posed.images.train,
        posed.images.val,
        training,
        validation_crop=settings.validation_crop,
        tolerance=settings.tolerance,
        checkpoint=None if posed.checkpoints is None else posed.checkpoints / kept,
        on_progress=watch.advanced,
    )
    found = evaluate(
        result.regularizer,
        1.0,
        posed.tests,
        tolerance=settings.tolerance,
        max_evaluations=settings.max_evaluations,
    )
    summary = _summary(
        spec,
        posed.name,
        result.regularizer,
        found,
        alpha=1.0,
        train_seconds=result.seconds,
        tolerance=settings.tolerance,
        seed=training.seed,
        steps=result.steps,
        adjoint_evaluations=result.mean("adjoint"),
    )
    parts = anatomy(result.regularizer)
    return RunResult(
        summary,
        found.reconstructions,
        _curve(result),
        found.trace,
        parts.filters,
        parts.synthesis,
        parts.profiles,
    )


def _summary(
    spec: MethodSpec, task: str, regularizer: Regularizer, found: Evaluation, **own: Any
) -> RunSummary:
    """What was found beside what is the run's own."""
    values = np.array([score.psnr for score in found.scores])
    similar = np.array([score.ssim for score in found.scores])
    good = [score.status == "CONVERGED" for score in found.scores]
    return RunSummary(
        task=task,
        method=spec.method,
        regularizer=spec.regularizer,
        label=spec.label,
        parameters=sum(p.numel() for p in regularizer.parameters()),
        psnr_mean=float(values.mean()),
        psnr_interval=bootstrap_interval(values),
        psnr_input=float(np.mean([score.psnr_input for score in found.scores])),
        ssim_mean=float(similar.mean()),
        ssim_interval=bootstrap_interval(similar),
        ssim_input=float(np.mean([score.ssim_input for score in found.scores])),
        reconstruct_seconds=found.seconds,
        forward_evaluations=found.evaluations,
        converged_fraction=sum(good) / len(good),
        symmetry_defect=found.defect[0],
        symmetry_defect_error=found.defect[1],
        certificate=found.certificate.sentence,
        images=found.scores,
        certificates=found.statements.records(),
        **own,
    )


def _curve(result: TrainingResult) -> TrainingCurve:
    log = result.log
    values = np.full(len(log.loss), np.nan)
    for step, value in zip(log.validation_step, log.validation_psnr, strict=True):
        values[max(step - 1, 0)] = value
    return TrainingCurve(
        steps=np.arange(1, len(log.loss) + 1, dtype=float),
        seconds=np.array(log.seconds),
        loss=np.array(log.loss),
        psnr=values,
    )
