"""Numbers outside their range and tensors that do not fit are refused wherever they are given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.physics import Denoising
from pydantic import ValidationError
from torch import Tensor

from equipoise.adjointness import adjoint_defect
from equipoise.bounds import Kind
from equipoise.certify.steps import Step
from equipoise.cli.values import duration
from equipoise.compare.settings import CompareSettings
from equipoise.differentiate import (
    NeumannAdjoint,
    adjoint_by_name,
    attach_gradient,
    default_adjoint,
    unroll,
)
from equipoise.equation import Equation
from equipoise.errors import InputError, UsageError
from equipoise.learn import TrainSettings, make_validation
from equipoise.learn.strength import tune_alpha
from equipoise.linear import GMRES, LINEAR_SOLVERS, NeumannSeries
from equipoise.problems import denoise
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import Scaled, Tikhonov, build
from equipoise.regularizers.learned_profiles import LinearSpline
from equipoise.regularizers.profiles import DeadZone, SmoothAbs
from equipoise.regularizers.residual import ResidualDenoiser
from equipoise.regularizers.ridge import RidgeRegularizer
from equipoise.solve import LBFGS, Anderson, FixedPoint, Resolvent, solve
from equipoise.study.attack import attack
from equipoise.study.settings import StudySettings
from small_problems import field, measure, normal, physics

SHAPE = (2, 1, 5, 6)


def equation(batch: int = 2) -> Equation:
    operator = physics("circular")
    return Equation(operator, measure(operator, (batch, 1, 5, 6)), field("tied-conv"), 0.1)


def zero() -> Tensor:
    return torch.zeros(SHAPE, dtype=torch.float64)


def reconstruct(**options: Any) -> object:
    limits = SolveOptions(**options)
    model = EquilibriumReconstructor(Tikhonov(), options=limits, on_failure="ignore")
    return model(normal(*SHAPE), Denoising())


def ridge(weight: float, slope: float) -> object:
    filters, numbers = [normal(2, 1, 3, 3)], torch.tensor([1.0, weight]).double()
    return RidgeRegularizer.from_arrays(filters, numbers, torch.tensor(slope).double(), 0.0)


def tuned(**options: Any) -> object:
    y = normal(*SHAPE)
    limits = {"tolerance": 1e-4, "max_evaluations": 50, **options}
    return tune_alpha(Tikhonov(), Denoising(), y, y, y, **limits)


Use = Callable[[Any], object]

POSITIVE: dict[str, Use] = {
    "solve": lambda v: solve(equation(), zero(), tolerance=v),
    "reconstructor": lambda v: reconstruct(tolerance=v),
    "prox": lambda v: Tikhonov().solve_prox(normal(*SHAPE), tolerance=v),
    "prox gamma": lambda v: Tikhonov().prox(normal(*SHAPE), gamma=v),
    "prox gamma tensor": lambda v: Tikhonov().prox(normal(*SHAPE), gamma=torch.tensor([v])),
    "alpha": lambda v: Equation(Denoising(), normal(*SHAPE), Tikhonov(), v),
    "step_size": lambda v: FixedPoint(step_size=v),
    "relaxation": lambda v: Resolvent(relaxation=v),
    **{
        name: lambda v, cls=cls: cls(tolerance=v)  # type: ignore[misc]
        for name, cls in LINEAR_SOLVERS.items()
    },
    "neumann": lambda v: NeumannSeries(terms=1, inverse=lambda x: x, tolerance=v),
    "neumann step": lambda v: NeumannAdjoint(step_size=v),
    "adjoint": lambda v: default_adjoint(equation(), tolerance=v),
    "adjoint by name": lambda v: adjoint_by_name("gmres:3", tolerance=v),
    "unroll": lambda v: unroll(equation(), zero(), 2, v),
    "unroll tensor": lambda v: unroll(equation(), zero(), 2, torch.tensor([1.0, v])),
    "tv": lambda v: build("tv", epsilon=v),
    "smooth-abs": SmoothAbs,
    "spline radius": lambda v: LinearSpline(2, radius=v),
    "denoiser": lambda v: ResidualDenoiser(lambda x, sigma: x, v),
    "strength": lambda v: Scaled(Tikhonov(), strength=v),
    "scale": lambda v: Scaled(Tikhonov()).set_scales(1.0, v),
    "filters": lambda v: build("tied-conv", scale=v),
    "matrix": lambda v: build("tied-dense", image_shape=(1, 3, 3), features=4, scale=v),
    "ridge weight": lambda v: ridge(v, 1.0),
    "ridge slope": lambda v: ridge(1.0, v),
    "contraction": lambda v: build("contractive", contraction=v),
    "adjoint check": lambda v: adjoint_defect(Denoising(), SHAPE[1:], tolerance=v),
    "attack": lambda v: attack(equation(1), zero()[:1], v),
    "attack tolerance": lambda v: attack(equation(1), zero()[:1], 1.0, tolerance=v),
    "validation": lambda v: make_validation(
        denoise((1, 8, 8)), [torch.rand(1, 8, 8)], size=8, seed=0, tolerance=v
    ),
    "tuning start": lambda v: tuned(start=v),
    "tuning width": lambda v: tuned(width=v),
    "tuning tolerance": lambda v: tuned(tolerance=v),
    "accuracy": lambda v: Step(1.0, 0.5, Kind.PROVED, "").steps(v),
}

NOT_NEGATIVE: dict[str, Use] = {
    "weak_convexity": lambda v: build("ridge", weak_convexity=v),
    "threshold": DeadZone,
}

#: Use and least value.
COUNTS: dict[str, tuple[Use, int]] = {
    "solve": (lambda v: solve(equation(), zero(), max_evaluations=v), 1),
    "patience": (lambda v: solve(equation(), zero(), patience=v), 1),
    "check_every": (lambda v: solve(equation(), zero(), check_every=v), 1),
    "reconstructor": (lambda v: reconstruct(max_evaluations=v), 1),
    "anderson": (lambda v: Anderson(memory=v), 1),
    "lbfgs": (lambda v: LBFGS(memory=v), 1),
    **{
        name: (lambda v, cls=cls: cls(max_products=v), 1)  # type: ignore[misc]
        for name, cls in LINEAR_SOLVERS.items()
    },
    "restart": (lambda v: GMRES(restart=v), 1),
    "adjoint": (lambda v: default_adjoint(equation(), max_products=v), 1),
    "terms": (lambda v: NeumannAdjoint(terms=v), 0),
    "series": (lambda v: NeumannSeries(terms=v, inverse=lambda x: x), 0),
    "unroll": (lambda v: unroll(equation(), zero(), v, 0.1), 1),
}


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", POSITIVE)
def test_what_must_be_positive_is_finite_too(name: str, value: float) -> None:
    with pytest.raises((InputError, UsageError)):
        POSITIVE[name](value)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_what_must_not_be_negative_is_finite_too(name: str, value: float) -> None:
    NOT_NEGATIVE[name](0.0)
    with pytest.raises(UsageError, match="not negative"):
        NOT_NEGATIVE[name](value)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_whole_numbers(name: str) -> None:
    use, least = COUNTS[name]
    use(least)
    for value in (least - 1, 2.5, math.inf, math.nan, "3"):
        with pytest.raises((InputError, UsageError), match="whole number and at least"):
            use(value)


def test_a_number_that_is_none_is_refused_by_its_name() -> None:
    with pytest.raises(InputError, match="tolerance must be a positive finite number, got 1e-3"):
        solve(equation(), zero(), tolerance="1e-3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="gamma must be a positive finite number"):
        Tikhonov().prox(normal(*SHAPE), gamma=torch.ones(2))


def test_settings_are_finite() -> None:
    refused = 0
    for model in (TrainSettings, CompareSettings, StudySettings):
        for name, field_ in model.model_fields.items():
            if "float" not in str(field_.annotation):
                continue
            for value in (math.inf, -math.inf, math.nan):
                given: Any = (value,) if "tuple" in str(field_.annotation) else value
                with pytest.raises(ValidationError):
                    model(**{name: given})
                refused += 1
    assert refused > 40


def test_durations_are_finite() -> None:
    with pytest.raises(UsageError, match="not a duration"):
        duration("9" * 400 + "s")


# ---- starting points -----------------------------------------------------------------------------

MISFITS = {
    "one sample of two": (torch.zeros(1, 1, 5, 6).double(), r"has shape \(1, 1, 5, 6\), but"),
    "transposed": (torch.zeros(2, 1, 6, 5).double(), "has shape"),
    "flat": (torch.zeros(2, 30).double(), "has shape"),
    "float32": (torch.zeros(SHAPE), r"is torch.float32 on cpu, but .*\.to\(torch.float64\)"),
    "whole": (torch.zeros(SHAPE, dtype=torch.int64), "is torch.int64"),
    "elsewhere": (torch.zeros(SHAPE, device="meta").double(), r"is .* on meta.*\.to\('cpu'\)"),
    "array": (np.zeros(SHAPE), "must be a tensor, got ndarray"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_starting_points_that_do_not_fit_are_refused(name: str) -> None:
    x0, words = MISFITS[name]
    posed = equation()
    for solver in (LBFGS(), Anderson(), FixedPoint(), None):
        with pytest.raises(InputError, match=f"x0 {words}"):
            solve(posed, x0, solver)
    with pytest.raises(InputError, match=f"x0 {words}"):
        EquilibriumReconstructor(posed.regularizer)(posed.y, posed.physics, x0=x0)
    with pytest.raises(InputError, match=f"x0 {words}"):
        unroll(posed, x0, 2, 0.1)
    with pytest.raises(InputError, match=f"x0 {words}"):
        GMRES().solve(lambda v: v, zero(), x0=x0)
    with pytest.raises(InputError, match=f"x {words}"):
        attach_gradient(posed, x0)
    with pytest.raises(InputError, match=f"start {words}"):
        attach_gradient(posed, zero(), start=x0)


def test_a_starting_point_that_needs_a_gradient_is_no_part_of_the_graph() -> None:
    x0 = zero().requires_grad_()
    assert not solve(equation(), x0).x.requires_grad
