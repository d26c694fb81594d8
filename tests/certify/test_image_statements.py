"""What a certificate says of a reconstruction and of a truth: numbers, standings, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from approximate import instances, scaled_identity, solved
from hypothesis import given, settings
from instances import (
    EXACT,
    FIELDS,
    IMAGE,
    PHYSICS,
    PIXELS,
    Instance,
    Linear,
    Sampled,
    make_physics,
    normal,
    scalar,
)

from equipoise.bounds import Kind
from equipoise.certify import (
    error_bound,
    error_lower_bound,
    least_norm_element,
    truth_error_bound,
)
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.image_statements import (
    lower_bound_statements,
    posterior_statements,
    source_statements,
)
from equipoise.certify.point import Point
from equipoise.equation import Equation
from equipoise.errors import InputError
from equipoise.vectors import norm

NAMES = {
    "distance_upper",
    "distance_lower",
    "error_floor",
    "error_lower_bound",
    "source_norm",
    "source_residual",
    "source_loss",
    "rate_bregman",
    "rate_norm",
    "best_alpha",
    "error_upper_bound",
}


def all_of(equation: Equation, x: torch.Tensor, truth: torch.Tensor, noise: float | torch.Tensor):
    known = Hypotheses(equation)
    statements = (
        *posterior_statements(Point(known, x)),
        *lower_bound_statements(Point(known, truth), known.noise(noise)),
        *source_statements(Point(known, truth), known.noise(noise)),
    )
    return {statement.name: statement for statement in statements}


def test_numbers_are_those_of_the_functions() -> None:
    case = Instance("ill", "contractive", 3)
    equation, z = case.equation, case.truth
    x, delta = solved(equation, 1e-3), float(norm(case.y - case.clean))
    found = all_of(equation, x, z, delta)
    assert set(found) == NAMES
    assert found["distance_upper"].value == float(error_bound(equation, x))
    assert found["error_lower_bound"].value == float(error_lower_bound(equation, z, delta).value)
    assert found["error_upper_bound"].value == float(truth_error_bound(equation, z, delta))
    w = float(least_norm_element(case.physics, case.regularizer.field(z)).w_norm)
    assert found["source_norm"].value == pytest.approx(w, rel=1e-12)
    assert found["best_alpha"].value == pytest.approx(delta / w, rel=1e-12)
    assert found["rate_bregman"].value == pytest.approx(w, rel=2e-6)
    mu = case.regularizer.traits().modulus
    assert mu is not None
    assert found["rate_norm"].value == pytest.approx((w / mu.value) ** 0.5, rel=2e-6)
    assert all(s.kind is Kind.PROVED and s.holds for s in found.values())


@given(case=instances(PHYSICS, FIELDS))
@settings(max_examples=40, deadline=None)
def test_a_number_is_there_exactly_if_the_hypotheses_hold(case: Instance) -> None:
    equation, z = case.equation, case.truth
    found = all_of(equation, z, z, 0.1)
    traits = case.regularizer.traits()
    for s in found.values():
        assert s.holds == (s.value is not None)
        assert bool(s.advice) == (not s.holds)
        assert s.value is None or s.value >= 0
    strong = traits.modulus is not None and traits.modulus.value > 0
    assert found["error_upper_bound"].holds == found["source_loss"].holds == strong
    bounded = traits.lipschitz is not None and math.isfinite(traits.lipschitz.value)
    for name in ("error_floor", "error_lower_bound", "distance_lower"):
        assert found[name].holds == bounded
    assert found["source_norm"].kind is (
        Kind.PROVED if case.physics_name in EXACT else Kind.ESTIMATED
    )
    if case.physics_name in ("mask", "wide", "deficient"):  # R(z) has a part that A does not see
        assert not found["rate_bregman"].holds
        assert "not met: A^T w misses" in found["rate_bregman"].words


def test_a_batch_gets_its_worst_sample() -> None:
    physics, field = make_physics("mask"), scalar(0.5)
    z = normal(3, *IMAGE, seed=1) * torch.tensor([1.0, 3.0, 0.2]).double().view(3, 1, 1, 1)
    alone = [all_of(Equation(physics, physics.A(one), field), one, one, 0.1) for one in z.split(1)]
    together = all_of(Equation(physics, physics.A(z), field), z, z, 0.1)
    for name, choose in (
        ("distance_upper", max),
        ("distance_lower", min),
        ("error_floor", min),
        ("error_lower_bound", min),
        ("error_upper_bound", max),
        ("source_residual", max),
        ("source_loss", max),
    ):
        expected = choose(one[name].value or 0.0 for one in alone)
        assert together[name].value == pytest.approx(expected, rel=1e-12), name


def test_a_source_condition_in_the_range_of_a_mask_is_met() -> None:
    physics = make_physics("mask")
    z = normal(1, *IMAGE, seed=1)
    offset = (physics.mask - 0.5) * z  # R(z) = z / 2 + offset = mask z
    field = Linear(0.5 * torch.eye(PIXELS, dtype=torch.float64), offset.flatten())
    found = all_of(Equation(physics, physics.A(z), field), z, z, 0.1)
    assert found["rate_bregman"].holds
    w = float(norm(physics.mask * z))
    assert found["rate_bregman"].value == pytest.approx(w, rel=2e-6)
    assert found["best_alpha"].value == pytest.approx(0.1 / w, rel=1e-9)


def test_monotone_fields_have_a_rate_in_the_bregman_distance_alone() -> None:
    case = Instance("denoise", "tv")
    found = all_of(case.equation, case.truth, case.truth, 0.1)
    assert found["rate_bregman"].holds
    assert found["best_alpha"].holds
    assert not found["rate_norm"].holds
    assert "not strongly" in found["rate_norm"].words
    assert not found["source_loss"].holds


def test_weak_monotonicity_says_by_how_much_and_what_mends_it() -> None:
    z = normal(1, *IMAGE, seed=1)
    found = all_of(Equation(scaled_identity(1.0), z, scalar(-0.5), 3.0), z, z, 0.1)
    assert "m > 0 fails by 0.5" in found["distance_upper"].words
    assert "alpha <= 1.99" in found["distance_upper"].advice
    assert "not monotone: mu = -0.5" in found["rate_bregman"].words
    assert "mu = -0.5 (PROVED) is not positive" in found["error_upper_bound"].words


def test_estimated_constants_make_estimates_and_say_so() -> None:
    z = normal(1, *IMAGE, seed=1)
    field = Sampled(torch.eye(PIXELS, dtype=torch.float64))
    found = all_of(Equation(scaled_identity(1.0), z, field, 0.5), z, z, 0.1)
    exact = {"source_norm", "source_residual"}
    for name, s in found.items():
        assert s.holds
        assert s.kind is (Kind.PROVED if name in exact else Kind.ESTIMATED), name
        assert ("ESTIMATED: " in s.words) == (name not in exact), name


def test_images_and_noise_that_do_not_match_are_refused() -> None:
    case = Instance("mask", "contractive")
    known = Hypotheses(case.equation)
    for name in ("x", "truth"):
        with pytest.raises(InputError, match=rf"{name} has shape .* the equation's images"):
            Point(known, case.truth[..., :2], name)
    for noise in (-1.0, torch.zeros(2)):
        with pytest.raises(InputError, match="noise_norm"):
            known.noise(noise)
