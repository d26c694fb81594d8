"""Contraction factors and numbers of steps against what iterations do."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from deepinv.physics import Inpainting
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    FIELDS,
    IMAGE,
    PIXELS,
    STRONG,
    Instance,
    Linear,
    dense_equation,
    dense_physics,
    equilibrium,
    make_physics,
    normal,
    rotation,
)
from torch import Tensor

from equipoise.bounds import Kind, proved
from equipoise.certify import Statement
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.steps import (
    gradient_factor,
    gradient_step,
    resolvent_factor,
    resolvent_step,
    solving_section,
)
from equipoise.equation import Equation
from equipoise.regularizers import Tikhonov

SEEDS = st.integers(0, 10_000)
DECOMPOSABLE = ("denoise", "mask", "blur", "ill")


def answers(equation: Equation) -> dict[str, Statement]:
    found = solving_section(Hypotheses(equation))
    return {statement.name: statement for statement in found.statements}


def pairs(equation: Equation, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Pairs that differ at random and along the extreme directions of the Jacobian."""
    x = normal(1, *IMAGE, seed=seed)
    jacobian = dense_equation(equation, x)
    u, _, vh = torch.linalg.svd(jacobian)
    least = torch.linalg.eigh(0.5 * (jacobian + jacobian.mT))[1][:, 0]
    directions = [vh[0], vh[-1], u[:, 0], least, normal(PIXELS, seed=seed + 1)]
    return [
        (x, x + scale * d.view_as(x) / d.norm()) for d in directions for scale in (1e-2, 1.0, 10.0)
    ]


def resolvent_map(equation: Equation, c: float) -> Tensor:
    a = dense_physics(equation.physics)
    return torch.linalg.inv(a.mT @ a + c * torch.eye(PIXELS, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(
    physics=st.sampled_from(DECOMPOSABLE),
    field=st.sampled_from([f for f in FIELDS if f != "network"]),
    seed=SEEDS,
    alpha=st.floats(0.05, 5.0),
    stretch=st.floats(0.1, 1.9),
)
def test_factors_dominate_measured_ones(
    physics: str, field: str, seed: int, alpha: float, stretch: float
) -> None:
    equation = Instance(physics, field, seed, alpha).equation
    known = Hypotheses(equation)
    first, second = gradient_step(known), resolvent_step(known)
    if not known.strong:
        assert first is None
        assert second is None
        return
    taus, shifts = [stretch / 20], [alpha * stretch]
    if first is not None:
        assert first.kind is Kind.PROVED
        taus.append(first.parameter)
        assert first.factor <= gradient_factor(known, stretch * first.parameter) + 1e-12
    if second is not None:
        shifts.append(second.parameter)
        assert second.factor <= resolvent_factor(known, stretch * second.parameter) + 1e-12
    inverses = [resolvent_map(equation, c) for c in shifts]
    for x, z in pairs(equation, seed):
        distance = float((x - z).norm())
        change = equation.residual(x) - equation.residual(z)
        for tau in taus:
            moved = float((x - z - tau * change).norm())
            assert moved <= gradient_factor(known, tau) * distance
        for c, inverse in zip(shifts, inverses, strict=True):
            step = (inverse @ change.flatten()).view_as(x)
            assert float((x - z - step).norm()) <= resolvent_factor(known, c) * distance


def blank() -> Inpainting:
    """``A = 0``."""
    return Inpainting(IMAGE, mask=torch.zeros(IMAGE, dtype=torch.float64)).double()


def diagonal(mu: float, top: float) -> Linear:
    return Linear(torch.diag(torch.linspace(mu, top, PIXELS, dtype=torch.float64)))


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_factors_are_attained(alpha: float) -> None:
    turning = Equation(blank(), torch.zeros(1, *IMAGE).double(), rotation(0.6, 0.9), alpha)
    straight = Equation(
        make_physics("denoise"), torch.zeros(1, *IMAGE).double(), diagonal(0.2, 1.7), alpha
    )
    for equation in (turning, straight):
        known = Hypotheses(equation)
        assert known.traits.disc == (equation is straight)
        first, second = gradient_step(known), resolvent_step(known)
        assert first is not None
        assert second is not None
        inverse = resolvent_map(equation, second.parameter)
        reached = [0.0, 0.0]
        for d in torch.eye(PIXELS, dtype=torch.float64):
            e = equation.residual(d.view(1, *IMAGE)).flatten()
            reached[0] = max(reached[0], float((d - first.parameter * e).norm()))
            reached[1] = max(reached[1], float((d - inverse @ e).norm()))
        assert 0.99 * first.factor <= reached[0] <= first.factor
        assert 0.99 * second.factor <= reached[1] <= second.factor


@pytest.mark.parametrize("field", STRONG)
@pytest.mark.parametrize("physics", ["denoise", "mask", "blur"])
def test_steps_suffice(physics: str, field: str) -> None:
    instance = Instance(physics, field, 5, 0.8)
    equation, found = instance.equation, answers(instance.equation)
    goal = equilibrium(equation)
    start = equation.adjoint_data
    first_error = float((start - goal).norm())
    tau, c = found["gradient_step"].value, found["resolvent_shift"].value
    assert tau is not None
    assert c is not None
    inverse = resolvent_map(equation, c)
    maps = {
        "gradient": lambda e: tau * e,
        "resolvent": lambda e: (inverse @ e.flatten()).view_as(e),
    }
    for name, move in maps.items():
        for promise, share in ((f"{name}_steps_per_digit", 0.1), (f"{name}_steps", 1e-3)):
            steps = found[promise].value
            assert steps is not None
            x = start
            for _ in range(min(int(steps), 3000)):
                x = x - move(equation.residual(x))
            if steps <= 3000:
                assert float((x - goal).norm()) <= share * first_error


def test_section_states_the_better_map_first() -> None:
    found = answers(Instance("mask", "contractive", 1, 0.5).equation)
    best = found["contraction_factor"]
    factors = [found[f"{name}_factor"].value for name in ("gradient", "resolvent")]
    assert best.value == min(f for f in factors if f is not None)
    assert best.kind is Kind.PROVED
    assert "steps a decimal digit" in best.words
    limit, step = found["gradient_step_limit"].value, found["gradient_step"].value
    assert limit is not None
    assert step is not None
    assert 0 < step < limit
    assert found["resolvent_shift"].value == pytest.approx(0.5, rel=1e-5)  # c = alpha


def test_contractive_residuals_converge_independently_of_the_physics() -> None:
    """kappa = alpha q / (alpha + s_-^2) <= q = 0.8."""
    for physics in ("mask", "ill"):
        factor = answers(Instance(physics, "contractive", 1, 0.5).equation)["resolvent_factor"]
        assert factor.value == pytest.approx(0.8, rel=1e-4)
    blurred = Instance("blur", "contractive", 1, 0.5)
    least = float(torch.linalg.svdvals(blurred.A)[-1]) ** 2
    factor = answers(blurred.equation)["resolvent_factor"]
    assert factor.value == pytest.approx(0.4 / (0.5 + least), rel=1e-4)


def test_where_the_norm_is_estimated_so_is_the_gradient_step() -> None:
    found = answers(Instance("tall", "contractive", 1, 0.5).equation)
    assert found["gradient_factor"].kind is Kind.ESTIMATED
    assert "||A||" in found["gradient_factor"].words
    assert found["resolvent_factor"].kind is Kind.PROVED
    # The resolvent cannot be applied exactly there, so it is not what the section begins with.
    assert found["contraction_factor"].value == found["gradient_factor"].value


def test_monotone_gradients_converge_without_a_rate() -> None:
    equation = Instance("mask", "crr", 2, 0.5).equation
    found = answers(equation)
    assert found["contraction_factor"].value is None
    assert "m = 0" in found["contraction_factor"].words
    limit = found["gradient_step_limit"]
    assert limit.kind is Kind.PROVED
    assert limit.value is not None
    assert "no rate" in limit.words
    x = equation.adjoint_data
    for _ in range(4000):
        x = x - 0.99 * limit.value * equation.residual(x)
    assert float(equation.residual(x).norm()) < 1e-6


def test_no_step_is_sure_where_the_field_is_not_monotone() -> None:
    found = answers(Instance("mask", "wcrr", 2, 0.5).equation)
    assert [s.value for s in found.values()] == [None] * len(found)
    assert all(not s.holds and s.advice for s in found.values())


def test_step_size_limits_are_sharp() -> None:
    """Beyond the limit the gradient step diverges for the diagonal field."""
    equation = Equation(
        make_physics("denoise"), torch.zeros(1, *IMAGE).double(), diagonal(0.2, 1.7), 1.0
    )
    known = Hypotheses(equation)
    limit = answers(equation)["gradient_step_limit"].value
    assert limit is not None
    assert gradient_factor(known, limit) <= 1.0 + 1e-5
    assert gradient_factor(known, 1.01 * limit) > 1.0


def test_samples_with_different_alpha_share_a_step() -> None:
    y = normal(2, *IMAGE, seed=0)
    alphas = torch.tensor([0.2, 1.5], dtype=torch.float64)
    for field in (diagonal(0.2, 1.7), rotation(0.6, 0.9)):
        both = Hypotheses(Equation(make_physics("denoise"), y, field, alphas))
        step, shift = gradient_step(both), resolvent_step(both)
        assert step is not None
        assert shift is not None
        for alpha in (0.2, 1.5):
            one = Hypotheses(Equation(make_physics("denoise"), y, field, alpha))
            assert gradient_factor(one, step.parameter) <= step.factor
            assert resolvent_factor(one, shift.parameter) <= shift.factor


def test_exact_inverse_needs_one_step() -> None:
    found = answers(Equation(make_physics("denoise"), normal(1, *IMAGE, seed=0), Tikhonov(), 0.7))
    assert found["resolvent_steps"].value == 1.0
    factor = found["resolvent_factor"].value
    assert factor is not None
    assert 0 <= factor < 1e-5
    assert math.isfinite(factor)


@given(
    m=st.floats(1e-12, 1.0),
    ratio=st.floats(1.0, 1e12),
    place=st.floats(0.01, 1.99),
)
@settings(max_examples=200, deadline=None)
def test_factors_are_no_smaller_than_in_exact_arithmetic(
    m: float, ratio: float, place: float
) -> None:
    high = m * ratio
    tau = place / high
    known = SimpleNamespace(m=proved(m), largest=proved(high), traits=SimpleNamespace(disc=True))
    exact = max(abs(1 - Fraction(tau) * Fraction(m)), abs(1 - Fraction(tau) * Fraction(high)))
    assert Fraction(gradient_factor(known, tau)) >= exact  # type: ignore[arg-type]
