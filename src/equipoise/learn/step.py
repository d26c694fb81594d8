"""One optimisation step's loss and gradient: solve, compare, differentiate."""

from __future__ import annotations

import math
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
from equipoise.learn.bank import PatchBank, Visit, any_direction
from equipoise.learn.losses import upper_loss
from equipoise.learn.source_condition import SourceLoss
from equipoise.learn.stability import monotonicity_penalty
from equipoise.modes import learning_verb
from equipoise.regularizers import Scaled
from equipoise.regularizers.base import Regularizer
from equipoise.settings.training import SOURCE, TrainSettings
from equipoise.solve import default_solver, solve
from equipoise.status import LinearSolution, Solution
from equipoise.vectors import expand, where

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
        converged: share of samples whose lower-level solve converged, NaN where nothing was solved.
        adjoint_converged: share of samples whose adjoint solve converged (1 where truncated), NaN
            likewise.
        usable: share of samples that entered the loss.
    """

    loss: float
    mse: float = math.nan
    forward_evaluations: float = 0.0
    adjoint_products: float = 0.0
    converged: float = math.nan
    adjoint_converged: float = math.nan
    usable: float = 1.0


def check_mode(regularizer: Regularizer, settings: TrainSettings) -> None:
    """Refuse bilevel training of a field that is not a gradient, and what cannot be tuned.

    Raises:
        HypothesisError: saying which mode to use.
        UsageError: if the source condition is to train a field that is not ``Scaled``.
    """
    if settings.mode == "bilevel" and not regularizer.gradient_field:
        raise HypothesisError(
            "Bilevel learning needs a potential, but this regularizer is not a gradient field: "
            "train it in mode equilibrium or jacobian-free."
        )
    if SOURCE in (settings.mode, settings.pretrain) and not isinstance(regularizer, Scaled):
        raise UsageError(
            "The source condition leaves the strength to be tuned afterwards: wrap the "
            "regularizer as equipoise.Scaled(regularizer)."
        )


@learning_verb
def accumulate_gradient(
    regularizer: Regularizer,
    bank: PatchBank,
    rows: Tensor,
    settings: TrainSettings,
    tolerance: float,
    turns: Tensor | None = None,
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
        turns: for each patch an index into the bank's symmetries, by which patch, measurements and
            warm starts are turned alike; None turns nothing.
    """
    unrolled = settings.mode == "unrolled"
    visit = bank.visit(rows, turns, warm=settings.warm_start and not unrolled)
    equation = bank.equation(regularizer, visit.y)
    if unrolled:
        return _unrolled(equation, visit, settings)
    solution = solve(
        equation,
        visit.x,
        default_solver(equation, warm=settings.warm_start),
        tolerance=tolerance,
        max_evaluations=settings.max_evaluations,
    )
    usable = solution.relative_residual <= USABLE * tolerance
    share = float(usable.double().mean())
    record, method = BackwardRecord(), _adjoint(equation, settings)
    loss = mse = torch.full((), torch.nan, device=usable.device)
    if share > 0:
        x = attach_gradient(
            equation, solution.x, method, on_failure="ignore", record=record, start=visit.q
        )
        truth, plain = visit.truth, solution.x
        if share < 1:
            x, truth, plain = x[usable], truth[usable], plain[usable]
        loss = upper_loss(settings.loss)(x, truth)
        loss.backward()
        mse = (plain - truth).square().mean()
    if settings.jacobian_penalty > 0 and not equation.gradient_field:
        # For failed samples too: there it is what leads back to weights with an equilibrium.
        direction = any_direction(visit.x) if visit.direction is None else visit.direction
        penalty, direction = monotonicity_penalty(
            equation, solution.x, direction, settings.monotonicity_margin
        )
        (settings.jacobian_penalty * penalty).backward()
        bank.keep(visit, direction=direction)
    adjoint = record.last
    if settings.warm_start:
        x = solution.x
        if share < 1:
            x = where(usable, x, bank.problem.start(visit.y))
        bank.keep(visit, x=x)
        if adjoint is not None and method.exact:
            bank.keep(visit, q=torch.where(torch.isfinite(adjoint.x), adjoint.x, 0.0))
    return _report(loss, mse, share, solution, adjoint, method.exact)


@learning_verb
def accumulate_source_gradient(
    regularizer: Regularizer,
    bank: PatchBank,
    rows: Tensor,
    source: SourceLoss,
    step: int,
    turns: Tensor | None = None,
) -> StepReport:
    """Add the gradient of the source condition's loss to the parameters' ``grad``.

    R is evaluated at two stacked batches with one graph; nothing is solved for the images.

    Args:
        regularizer: the field that is trained.
        bank: patches and measurements.
        rows: which patches form the mini-batch.
        source: the loss.
        step: number of the step, from which the directions are drawn.
        turns: for each patch an index into the bank's symmetries; None turns nothing.
    """
    terms = source.terms(regularizer, *source.sample(bank, rows, step, turns))
    loss = terms.loss(source.settings.margin_weight, source.settings.margin)
    loss.backward()
    return StepReport(float(loss.detach()))


def _adjoint(equation: Equation, settings: TrainSettings) -> Adjoint:
    if settings.mode == "jacobian-free":
        return NeumannAdjoint(terms=settings.neumann_terms)
    tolerance, limit = settings.adjoint_tolerance, settings.max_products
    if settings.adjoint is not None:
        return adjoint_by_name(settings.adjoint, tolerance=tolerance, max_products=limit)
    return default_adjoint(equation, tolerance=tolerance, max_products=limit)


def _unrolled(equation: Equation, visit: Visit, settings: TrainSettings) -> StepReport:
    start = visit.x
    size = jacobian_norm(equation.linearize(start).vjp, start)
    x = unroll(equation, start, settings.unrolled_steps, expand(1.0 / size, start))
    loss = upper_loss(settings.loss)(x, visit.truth)
    loss.backward()
    mse, steps = (x.detach() - visit.truth).square().mean(), float(settings.unrolled_steps)
    found = torch.stack([loss.detach(), mse]).tolist()
    return StepReport(found[0], found[1], steps, steps)


def _report(
    loss: Tensor,
    mse: Tensor,
    usable: float,
    solution: Solution,
    adjoint: LinearSolution | None,
    exact: bool,
) -> StepReport:
    """Bring all numbers to the host in one transfer."""
    numbers = [loss.detach(), mse, solution.evaluations, solution.converged]
    if adjoint is not None:
        numbers += [adjoint.evaluations, adjoint.converged]
    found = torch.stack([number.double().mean() for number in numbers]).tolist()
    products, solved = found[4:] or (0.0, 1.0)
    return StepReport(
        loss=found[0],
        mse=found[1],
        forward_evaluations=found[2],
        adjoint_products=products,
        converged=found[3],
        adjoint_converged=solved if exact else 1.0,
        usable=usable,
    )
