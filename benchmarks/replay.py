"""Training steps taken again, from warm starts and cold, under the weights of a real training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import timing
from benchmarks.machine import device
from equipoise.learn import PatchBank, Progress, TrainSettings, fill_bank, make_validation, train
from equipoise.learn.bank import Visit
from equipoise.learn.calibrate import calibrate
from equipoise.learn.schedules import minibatch
from equipoise.learn.step import StepReport, accumulate_gradient
from equipoise.problems import DataSplit, Problem, denoise
from equipoise.regularizers import Regularizer, Scaled, build

SIGMA = 0.1
#: Filters of the chain.
WIDTHS = (4, 8, 64)
#: What the exact hypergradient is computed with, in float64.
EXACT = {
    "warm_start": False,
    "adjoint_tolerance": 1e-7,
    "max_products": 2000,
    "max_evaluations": 3000,
}
EXACT_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Trajectory:
    """Some consecutive steps of a training.

    Args:
        regularizer: takes the weights of each step in turn.
        bank: its patches.
        settings: of the training.
        first: number of the first step.
        weights: those with which each step begins.
        warm_starts: what the bank held before the first step.
        psnr: on the validation photographs in the end, in dB.
    """

    regularizer: Regularizer
    bank: PatchBank
    settings: TrainSettings
    first: int
    weights: list[dict[str, Tensor]]
    warm_starts: dict[str, Tensor]
    psnr: float


@dataclass(frozen=True)
class Step:
    """One step taken from warm starts (or cold): its cost, its report, its gradient."""

    number: int
    seconds: float
    report: StepReport
    gradient: Tensor


def new_regularizer(seed: int) -> Scaled:
    """An untrained convex ridge regulariser."""
    torch.manual_seed(seed)
    return Scaled(build("ridge", filters=WIDTHS)).to(device())


def pose(size: int) -> Problem:
    """Denoising of patches."""
    return denoise((1, size, size), sigma=SIGMA, device=device())


def trajectory(data: DataSplit, settings: TrainSettings, window: int, crop: int) -> Trajectory:
    """Train, and remember the last steps."""
    regularizer, problem = new_regularizer(settings.seed), pose(settings.patch_size)
    bank = fill_bank(
        problem,
        data.train,
        count=settings.patches,
        size=settings.patch_size,
        seed=settings.seed,
        kept=("x", "q"),
    )
    calibrate(regularizer, bank)
    validation = make_validation(
        problem, data.val, size=crop, seed=settings.seed + 1, tolerance=1e-4
    )
    first = settings.steps - window
    weights: list[dict[str, Tensor]] = []
    warm_starts: dict[str, Tensor] = {}

    def watch(progress: Progress) -> None:
        if progress.step == first:
            warm_starts.update({name: t.clone() for name, t in bank.warm_starts().items()})
        if first <= progress.step < settings.steps:
            weights.append(copy.deepcopy(regularizer.state_dict()))

    result = train(regularizer, bank, validation, settings, on_progress=watch)
    return Trajectory(
        regularizer, bank, settings, first, weights, warm_starts, result.log.validation_psnr[-1]
    )


def replay(past: Trajectory, settings: TrainSettings, skip: int) -> Iterator[tuple[Step, Step]]:
    """Take the steps of a trajectory again, each from warm starts and cold, by turns.

    Args:
        past: the trajectory.
        settings: accuracy asked of the steps; ``settings.tolerance`` holds from the first on.
        skip: steps at the beginning that only bring warm starts to this accuracy.

    Yields:
        The warm and the cold step.
    """
    past.bank.restore(past.warm_starts)
    cold = settings.model_copy(update={"warm_start": False})
    for offset, weights in enumerate(past.weights):
        past.regularizer.load_state_dict(weights)
        number = past.first + offset
        if offset < skip:
            _timed(past, settings, number)
            continue
        # By turns: what depends on the weights alone is computed by whoever comes first.
        pair = {}
        for given in (settings, cold) if offset % 2 else (cold, settings):
            pair[given.warm_start] = _timed(past, given, number)
        yield pair[True], pair[False]


def exact_gradient(past: Trajectory, number: int) -> Tensor:
    """The hypergradient of a step's mini-batch under the present weights, in float64."""
    rows = minibatch(number, len(past.bank), past.settings.batch_size, past.settings.seed)
    visit = past.bank.visit(rows)
    return exact_gradient_of(past.regularizer, visit, past.bank.problem, past.settings)


def exact_gradient_of(
    regularizer: Regularizer, visit: Visit, problem: Problem, settings: TrainSettings
) -> Tensor:
    """The hypergradient of a mini-batch at its equilibria, solved in float64."""
    wide = copy.deepcopy(regularizer).double()
    problem = problem.with_dtype(torch.float64)
    truth, y = visit.truth.double(), visit.y.double()
    none = truth[:0]
    double = PatchBank(problem, truth, y, none, none, none)
    tight = settings.model_copy(update={**EXACT, "mode": "bilevel", "adjoint": None})
    wide.zero_grad(set_to_none=True)
    report = accumulate_gradient(wide, double, torch.arange(len(truth)), tight, EXACT_TOLERANCE)
    assert report.converged == report.adjoint_converged == 1.0
    return gradient(wide)


def gradient(regularizer: Regularizer) -> Tensor:
    """All gradients of the parameters in one vector of float64."""
    found = [
        p.grad if p.grad is not None else torch.zeros_like(p) for p in regularizer.parameters()
    ]
    return torch.cat([g.detach().double().flatten() for g in found])


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two vectors."""
    return float(F.cosine_similarity(a, b, dim=0))


def _timed(past: Trajectory, settings: TrainSettings, number: int) -> Step:
    rows = minibatch(number, len(past.bank), settings.batch_size, settings.seed)
    past.regularizer.zero_grad(set_to_none=True)
    reports: list[StepReport] = []
    seconds = timing.once(
        lambda: reports.append(
            accumulate_gradient(past.regularizer, past.bank, rows, settings, settings.tolerance)
        )
    )
    return Step(number, seconds, reports[0], gradient(past.regularizer))
