"""The study of the error floor: floors hold of what is measured, and are met where they can be."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from deepinv.physics import DecomposablePhysics
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.regularizers import Regularizer, build
from equipoise.status import Status
from equipoise.study import lower_bound
from equipoise.study.cases import Case, cases
from equipoise.study.lower_bound import run_case, sweep_case
from equipoise.study.settings import StudySettings
from small_problems import field, image_shape, normal, physics

SETTINGS = StudySettings(size=16, noise_levels=(0.1, 0.01))


def case_of(made: DecomposablePhysics, regularizer: Regularizer, images: Tensor) -> Case:
    names = tuple(f"image{k}" for k in range(len(images)))
    return Case("made", "made", made, regularizer, images, names, images, "Made for a test.", ())


def small_case(place: str, name: str, seed: int) -> Case:
    images = normal(2, *image_shape(place), seed=seed)
    regularizer = build("tikhonov") if name == "identity" else field(name)
    return case_of(physics(place), regularizer, images)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["identity", "contractive", "crr", "wcrr", "untied-conv"])
@pytest.mark.parametrize("place", ["inpaint", "circular", "tomography", "mri"])
def test_no_measured_error_is_below_a_proved_bound(place: str, name: str, seed: int) -> None:
    case = small_case(place, name, seed)
    sweep = sweep_case(case, SETTINGS.model_copy(update={"max_evaluations": 150}), (1.0, 0.1, 0.01))
    assert sweep.floor is not None
    assert sweep.floor_at is not None
    assert sweep.refined_at is not None
    assert sweep.refined_kind is Kind.PROVED
    # The bounds are for the points as computed, whatever became of their solves.
    assert bool((sweep.error >= sweep.refined_at).all())
    if sweep.floor.kind is Kind.PROVED:
        assert bool((sweep.error >= sweep.floor_at).all())
        exact = sweep.error + sweep.radius
        assert bool((exact >= sweep.floor.value).all())
    assert bool((sweep.floor_at <= sweep.floor.value).all())
    assert (sweep.floor.kind is Kind.PROVED) == (place in ("inpaint", "mri", "circular"))


def test_the_floor_is_met_where_everything_lies_in_the_kernel() -> None:
    """Tikhonov and a truth that a mask does not see: x = 0, error = ||truth|| (6a attained)."""
    mask = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    mask[..., 2:] = 0.0
    truth = normal(1, 1, 4, 4, seed=3)
    truth[..., :2] = 1e-3
    case = case_of(DecomposablePhysics(mask=mask), build("tikhonov"), truth)
    sweep = sweep_case(case, SETTINGS, (1e-1, 1e-3))
    assert sweep.floor is not None
    assert sweep.floor.kind is Kind.PROVED
    ratio = sweep.least(0)[0] / float(sweep.floor.value[0])
    assert 1.0 <= ratio <= 1.01


def test_the_refined_bound_is_met_for_one_small_singular_value() -> None:
    """A = s, R = x: the error is ``alpha |x| / (alpha + s^2)``, as Thm 6(b) says for t = s^2."""
    s = 0.03
    made = DecomposablePhysics(mask=torch.full((1, 1, 2, 2), s, dtype=torch.float64))
    truth = normal(1, 1, 2, 2, seed=5)
    alphas = (1e-1, 1e-2, 1e-3)
    sweep = sweep_case(case_of(made, build("tikhonov"), truth), SETTINGS, alphas)
    assert sweep.floor is not None
    assert sweep.refined_at is not None
    assert float(sweep.floor.value) == 0.0
    for i, alpha in enumerate(alphas):
        error, below = float(sweep.error[i, -1, 0]), float(sweep.refined_at[i, -1, 0])
        assert error == pytest.approx(alpha / (alpha + s * s), rel=1e-6)
        assert 0.99 * error <= below <= error


def test_a_record_shows_the_floor_and_the_least_error() -> None:
    case = cases(SETTINGS, ("inpaint",), ("contractive",))[0]
    record = run_case(case, SETTINGS)
    assert [panel.name for panel in record.panels] == list(case.image_names)
    for name in case.image_names:
        least, floor = record.number(f"{name}_least_error"), record.number(f"{name}_floor")
        ratio = record.number(f"{name}_ratio")
        assert least is not None
        assert floor is not None
        assert ratio is not None
        assert least.value is not None
        assert floor.value is not None
        assert ratio.value == pytest.approx(least.value / floor.value)
        assert ratio.value >= 1.0
        assert floor.kind is Kind.PROVED
        assert least.low is not None
        assert least.low <= least.value
    clean = record.series(case.image_names[0], "error_0")
    assert clean is not None
    assert all(clean.solved)
    assert "PROVED" in record.findings[0]
    assert record.unsolved == 0


def test_the_least_error_has_the_alpha_and_level_of_its_solve() -> None:
    case = cases(SETTINGS, ("inpaint",), ("contractive",))[0]
    quick = SETTINGS.model_copy(update={"max_evaluations": 1})
    sweep = sweep_case(case, quick, (1.0, 0.1))
    error, status = torch.full_like(sweep.error, 9.0), torch.full_like(sweep.status, 1)
    error[1, 2, 0], error[0, 1, 0] = 0.5, 0.1
    assert replace(sweep, error=error, status=status).least(0) == (pytest.approx(0.1), 0, 1)
    status[0, 1, 0] = Status.STAGNATED
    assert replace(sweep, error=error, status=status).least(0) == (pytest.approx(0.5), 1, 2)


def test_a_least_error_at_an_end_of_the_sweep_says_so() -> None:
    case = cases(SETTINGS, ("inpaint",), ("contractive",))[0]
    quick = SETTINGS.model_copy(update={"max_evaluations": 1, "noise_levels": (0.1,)})
    sweep = sweep_case(case, quick, (1.0, 0.1, 0.01))
    words = [lower_bound._strength(sweep, i) for i in range(3)]
    ends = [", the largest tried", "", ", the smallest tried"]
    assert words == [f"alpha = {a:g}{end}" for a, end in zip((1.0, 0.1, 0.01), ends, strict=True)]
    one = run_case(case, SETTINGS).number(f"{case.image_names[0]}_least_error")
    assert one is not None
    assert one.words.startswith("At alpha = ")


def test_without_a_lipschitz_constant_there_is_no_bound_but_errors() -> None:
    case = cases(SETTINGS, ("inpaint",), ("network",))[0]
    record = run_case(case, SETTINGS)
    floor = record.number(f"{case.image_names[0]}_floor")
    assert floor is not None
    assert floor.value is None
    assert "Lipschitz" in floor.words
    assert "No lower bound" in record.findings[0]
    assert all(series.role == "measured" for panel in record.panels for series in panel.series)


def test_a_floor_that_rests_on_rounded_singular_values_says_so() -> None:
    case = cases(SETTINGS, ("sparse-view",), ("tikhonov",))[0]
    record = run_case(case, SETTINGS)
    floor = record.number("phantom_floor")
    assert floor is not None
    assert floor.kind is Kind.ESTIMATED
    assert "ESTIMATED" in record.findings[-1]
    assert "PROVED" in record.findings[-1]


def test_errors_of_failed_solves_are_marked_and_are_no_least_error() -> None:
    case = cases(SETTINGS, ("blur",), ("contractive",))[0]
    sweep = sweep_case(case, SETTINGS.model_copy(update={"max_evaluations": 2}), (1e-2,))
    assert bool((sweep.status == Status.ITERATION_LIMIT).all())
    assert sweep.least(0)[0] == math.inf
    record = run_case(case, SETTINGS.model_copy(update={"max_evaluations": 2}))
    assert record.unsolved == record.solves
    least = record.number("camera_least_error")
    assert least is not None
    assert least.value is None
    assert "no solve converged" in record.findings[0]
