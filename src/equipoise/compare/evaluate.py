"""Restore the test photographs and score what comes out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equipoise.certify import Certificate, Uniqueness, certify, symmetry_defect, uniqueness
from equipoise.compare.records import Array, ImageScore
from equipoise.conversion import in_double
from equipoise.equation import Equation
from equipoise.errors import InputError
from equipoise.metrics import psnr, ssim
from equipoise.problems import Problem
from equipoise.regularizers import Regularizer
from equipoise.solve import solve
from equipoise.status import Solution

#: Side of the crop on which the symmetry defect is measured.
DEFECT_CROP = 128

#: Random probes of the certificate's estimates; few, because every method pays for them.
CERTIFICATE_PROBES = 3


@dataclass(frozen=True)
class TestImage:
    """One test photograph with its measurement.

    Args:
        name: of the photograph.
        problem: the problem at its size.
        truth: shape (1, C, H, W).
        y: measurement, shape (1, ...).
        degraded: ``A^T y``, what the method starts from as a picture.
    """

    name: str
    problem: Problem
    truth: Tensor
    y: Tensor
    degraded: Tensor

    def double(self) -> TestImage:
        """The same measurement in float64."""
        problem = self.problem.with_dtype(torch.float64)
        return TestImage(
            self.name, problem, self.truth.double(), in_double(self.y), self.degraded.double()
        )


@dataclass(frozen=True)
class Evaluation:
    """What a field does on all test photographs.

    Args:
        scores: one per photograph.
        reconstructions: picture of each, (H, W) or (H, W, 3).
        seconds: mean time of one reconstruction.
        evaluations: mean number of evaluations of the equation.
        trace: (evaluations, relative residual) on the first photograph.
        defect: symmetry defect of the Jacobian at the first reconstruction, with standard error.
        certificate: what is known of existence and uniqueness.
        statements: everything that can be certified on the first photograph.
    """

    scores: list[ImageScore]
    reconstructions: dict[str, Array]
    seconds: float
    evaluations: float
    trace: tuple[Array, Array]
    defect: tuple[float, float]
    certificate: Uniqueness
    statements: Certificate


def measure_tests(
    problem: Problem, images: dict[str, Tensor], seed: int
) -> tuple[list[TestImage], list[str]]:
    """Measure every test photograph once, each with noise of its own.

    Left out are those that the problem cannot be posed for.

    Args:
        problem: the problem at any size.
        images: name -> (C, H, W).
        seed: seed of the noise.

    Returns:
        The measured photographs, and a sentence on each that is left out.

    Raises:
        InputError: if none is left.
    """
    tests, notes = [], []
    for number, (name, image) in enumerate(images.items()):
        truth = image[None].to(device=problem.device, dtype=problem.dtype)
        try:
            local = problem.for_shape(tuple(image.shape))
        except InputError as error:
            notes.append(f"Left out, test image {name}: {error}")
            continue
        generator = torch.Generator().manual_seed(100_003 * (seed + 1) + number)
        y = local.measure(truth, generator)
        with torch.no_grad():
            tests.append(TestImage(name, local, truth, y, local.physics.A_adjoint(y)))
    if not tests:
        raise InputError(" ".join(notes))
    return tests, notes


def evaluate(
    regularizer: Regularizer,
    alpha: float,
    tests: list[TestImage],
    *,
    tolerance: float,
    max_evaluations: int,
) -> Evaluation:
    """Solve the equation for every test photograph, from the problem's own starting point.

    Args:
        regularizer: the field.
        alpha: regularisation strength.
        tests: measured photographs.
        tolerance: relative residual of every solve.
        max_evaluations: limit of evaluations of every solve.
    """
    scores, pictures, spent, seconds = [], {}, 0.0, 0.0
    first: tuple[Equation, Solution] | None = None
    for test in tests:
        equation = Equation(test.problem.physics, test.y, regularizer, alpha)
        started = time.perf_counter()
        solution = solve(
            equation,
            test.problem.start(test.y),
            tolerance=tolerance,
            max_evaluations=max_evaluations,
            history=first is None,
        )
        seconds += time.perf_counter() - started
        first = first or (equation, solution)
        spent += float(solution.evaluations)
        pictures[test.name] = picture(solution.x)
        bound = solution.error_bound
        scores.append(
            ImageScore(
                name=test.name,
                psnr=float(psnr(solution.x, test.truth)),
                ssim=_similarity(solution.x, test.truth),
                psnr_input=float(psnr(test.degraded, test.truth)),
                ssim_input=_similarity(test.degraded, test.truth),
                residual=float(solution.relative_residual),
                error_bound=None if bound is None else float(bound),
                evaluations=int(solution.evaluations),
                status=solution.statuses[0].name,
            )
        )
    assert first is not None
    equation, solution = first
    assert solution.history is not None
    assert solution.history_evaluations is not None
    rows = solution.history_evaluations, solution.history
    evaluations, residuals = (row[:, 0].double().cpu().numpy() for row in rows)
    defect = symmetry_defect(regularizer, solution.x[..., :DEFECT_CROP, :DEFECT_CROP])
    return Evaluation(
        scores,
        pictures,
        seconds=seconds / len(tests),
        evaluations=spent / len(tests),
        trace=(evaluations, residuals),
        defect=(defect.value, defect.standard_error),
        certificate=uniqueness(equation),
        statements=certify(equation, x=solution.x, truth=tests[0].truth, probes=CERTIFICATE_PROBES),
    )


def picture(x: Tensor) -> Array:
    """An image (1, C, H, W) as an array (H, W) for one channel, (H, W, C) otherwise."""
    array = x[0].detach().double().cpu().numpy()
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)


def _similarity(x: Tensor, truth: Tensor) -> float:
    return float(ssim(x.float(), truth.float()))
