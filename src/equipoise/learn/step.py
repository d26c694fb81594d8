"""One optimisation step's loss and gradient: solve, compare, differentiate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.differentiate import (
    Adjoint,
    BackwardRecord,
    NeumannAdjoint,
    adjoint_by_name,
    attach_gradient,
    default_adjoint,
    jacobian_norm,
    unroll,
)
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, UsageError
from equipoise.learn.bank import PatchBank
from equipoise.learn.losses import upper_loss
from equipoise.learn.settings import SOURCE, TrainSettings
from equipoise.learn.source_condition import SourceLoss
from equipoise.learn.stability import monotonicity_penalty
from equipoise.regularizers import Scaled
from equipoise.regularizers.base import Regularizer
from equipoise.solve import solve
from equipoise.vectors import expand

#: A sample whose residual is within this factor of the tolerance still has a usable gradient.
USABLE = 10.0


@dataclass(frozen=True)
class StepReport:
    """What one step measured.

    Args:
        loss: upper-level loss over the usable samples; the source condition's in its mode.
        mse: mean squared error over the usable samples, NaN where nothing is reconstructed.
        forward_evaluations: mean over the mini-batch, 0 where nothing was solved.
        adjoint_products: mean over the mini-batch, 0 where nothing was solved.
        converged: share of samples whose lower-level solve converged.
        adjoint_converged: share of samples whose adjoint solve converged (1 where truncated).
        usable: share of samples that entered the loss.
    """

    loss: float
    mse: float
    forward_evaluations: float
    adjoint_products: float
    converged: float
    adjoint_converged: float
    usable: float


def check_mode(regularizer: Regularizer, settings: TrainSettings) -> None:
    """Refuse bilevel training of a field that is not a gradient, and what cannot be tuned.

    Raises:
        HypothesisError: saying which mode to use.
        UsageError: if the source condition is to train a field that is not ``Scaled``.
    """
    if settings.mode == "bilevel" and not regularizer.traits().gradient_field:
        raise HypothesisError(
            "Bilevel learning needs a potential, but this regularizer is not a gradient field: "
            "train it in mode equilibrium or jacobian-free."
        )
    if SOURCE in (settings.mode, settings.pretrain) and not isinstance(regularizer, Scaled):
        raise UsageError(
            "The source condition leaves the strength to be tuned afterwards: wrap the "
            "regularizer as equipoise.Scaled(regularizer)."
        )


def accumulate_gradient(
    regularizer: Regularizer,
    bank: PatchBank,
    rows: Tensor,
    settings: TrainSettings,
    tolerance: float,
) -> StepReport:
    """Add the gradient of the mini-batch's loss to the parameters' ``grad``.

    Samples whose solve failed do not enter the loss: the implicit function theorem says nothing
    about them. Warm starts of the bank are updated.

    Args:
        regularizer: the field that is trained.
        bank: patches, measurements, warm starts.
        rows: which patches form the mini-batch.
        settings: mode, limits and tolerances.
        tolerance: relative residual asked of the lower-level solve at this step.
    """
    equation = Equation(bank.physics, bank.y[rows], regularizer)
    truth = bank.truth[rows]
    if settings.mode == "unrolled":
        return _unrolled(equation, bank, rows, truth, settings)
    x0 = bank.x[rows] if settings.warm_start else bank.problem.start(bank.y[rows])
    solution = solve(equation, x0, tolerance=tolerance, max_evaluations=settings.max_evaluations)
    usable = solution.relative_residual <= USABLE * tolerance
    record, method = BackwardRecord(), _adjoint(equation, settings)
    loss_value, mse = float("nan"), float("nan")
    if bool(usable.any()):
        x = attach_gradient(
            equation,
            solution.x,
            method,
            on_failure="ignore",
            record=record,
            start=bank.q[rows] if settings.warm_start else None,
        )
        loss = upper_loss(settings.loss)(x[usable], truth[usable])
        loss.backward()
        loss_value, mse = float(loss.detach()), _mse(solution.x[usable], truth[usable])
    if settings.jacobian_penalty > 0 and not equation.gradient_field:
        # For failed samples too: there it is what leads back to weights with an equilibrium.
        penalty, bank.direction[rows] = monotonicity_penalty(
            equation, solution.x, bank.direction[rows], settings.monotonicity_margin
        )
        (settings.jacobian_penalty * penalty).backward()
    bank.x[rows] = torch.where(expand(usable, x0), solution.x, bank.problem.start(bank.y[rows]))
    adjoint = record.last
    if adjoint is not None and method.exact:
        bank.q[rows] = torch.where(torch.isfinite(adjoint.x), adjoint.x, 0.0)
    return StepReport(
        loss=loss_value,
        mse=mse,
        forward_evaluations=float(solution.evaluations.double().mean()),
        adjoint_products=float(adjoint.evaluations.double().mean()) if adjoint else 0.0,
        converged=float(solution.converged.double().mean()),
        adjoint_converged=float(adjoint.converged.double().mean())
        if adjoint and method.exact
        else 1.0,
        usable=float(usable.double().mean()),
    )


def accumulate_source_gradient(
    regularizer: Regularizer, bank: PatchBank, rows: Tensor, source: SourceLoss, step: int
) -> StepReport:
    """Add the gradient of the source condition's loss to the parameters' ``grad``.

    R is evaluated at two stacked batches with one graph; nothing is solved for the images.

    Args:
        regularizer: the field that is trained.
        bank: patches and measurements.
        rows: which patches form the mini-batch.
        source: the loss.
        step: number of the step, from which the directions are drawn.
    """
    loss = source.of(source.terms(regularizer, *source.sample(bank, rows, step)))
    loss.backward()
    return StepReport(
        loss=float(loss.detach()),
        mse=float("nan"),
        forward_evaluations=0.0,
        adjoint_products=0.0,
        converged=float("nan"),
        adjoint_converged=float("nan"),
        usable=1.0,
    )


def _adjoint(equation: Equation, settings: TrainSettings) -> Adjoint:
    if settings.mode == "jacobian-free":
        return NeumannAdjoint(terms=settings.neumann_terms)
    tolerance, limit = settings.adjoint_tolerance, settings.max_products
    if settings.adjoint is not None:
        return adjoint_by_name(settings.adjoint, tolerance=tolerance, max_products=limit)
    return default_adjoint(equation, tolerance=tolerance, max_products=limit)


def _unrolled(
    equation: Equation, bank: PatchBank, rows: Tensor, truth: Tensor, settings: TrainSettings
) -> StepReport:
    start = bank.problem.start(bank.y[rows])
    size = jacobian_norm(equation.linearize(start).vjp, start)
    x = unroll(equation, start, settings.unrolled_steps, expand(1.0 / size, start))
    loss = upper_loss(settings.loss)(x, truth)
    loss.backward()
    return StepReport(
        loss=float(loss.detach()),
        mse=_mse(x.detach(), truth),
        forward_evaluations=float(settings.unrolled_steps),
        adjoint_products=float(settings.unrolled_steps),
        converged=float("nan"),
        adjoint_converged=float("nan"),
        usable=1.0,
    )


def _mse(x: Tensor, truth: Tensor) -> float:
    return float((x - truth).square().mean())
