"""Existence and uniqueness: what is claimed is true, what is refused says what would mend it."""

from __future__ import annotations

import math
import re

import pytest
import torch
from deepinv.optim import L2
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    FIELDS,
    IMAGE,
    INJECTIVE,
    MONOTONE,
    PHYSICS,
    PIXELS,
    STRONG,
    Instance,
    Linear,
    dense_equation,
    dense_physics,
    equilibrium,
    make_field,
    make_physics,
    normal,
    scalar,
)
from scipy.optimize import minimize, root
from torch import Tensor

from equipoise.bounds import Kind, estimated, proved
from equipoise.certify import Section, Statement
from equipoise.certify.existence import existence_section
from equipoise.certify.hypotheses import Hypotheses
from equipoise.equation import Equation
from equipoise.regularizers import Regularizer, build
from equipoise.regularizers.base import Traits

SEEDS = st.integers(0, 10_000)


def answers(equation: Equation) -> dict[str, Statement]:
    found: Section = existence_section(Hypotheses(equation))
    return {statement.name: statement for statement in found.statements}


@settings(max_examples=50, deadline=None)
@given(
    physics=st.sampled_from(PHYSICS),
    field=st.sampled_from([f for f in FIELDS if f != "network"]),
    seed=SEEDS,
    alpha=st.floats(1e-3, 10.0),
)
def test_modulus_of_the_equation_is_below_dense_eigenvalues(
    physics: str, field: str, seed: int, alpha: float
) -> None:
    instance = Instance(physics, field, seed, alpha)
    found = answers(instance.equation)["strong_monotonicity"]
    if not found.holds:
        assert found.value is None
        assert field not in STRONG
        return
    assert found.kind is Kind.PROVED
    assert found.value is not None
    assert found.value > 0
    jacobian = dense_equation(instance.equation, normal(1, *IMAGE, seed=seed + 3))
    assert found.value <= float(torch.linalg.eigvalsh(0.5 * (jacobian + jacobian.mT))[0])


def test_modulus_of_the_equation_is_attained() -> None:
    """Weakly monotone ``R = -rho x`` and ``A = I``: ``m = 1 - alpha rho``."""
    found = answers(Equation(make_physics("denoise"), normal(1, *IMAGE, seed=0), scalar(-0.5), 0.8))
    assert found["strong_monotonicity"].value == pytest.approx(0.6, rel=0.01)
    limit = found["alpha_limit"].value
    assert limit is not None
    assert 1.98 < limit < 2.0


@settings(max_examples=25, deadline=None)
@given(
    physics=st.sampled_from(INJECTIVE[:3]),
    field=st.sampled_from(["wcrr", "untied"]),
    seed=SEEDS,
    excess=st.floats(1.01, 100.0),
)
def test_advice_on_alpha_works(physics: str, field: str, seed: int, excess: float) -> None:
    instance = Instance(physics, field, seed)
    limit = Hypotheses(instance.equation).alpha_limit
    assert limit.kind is Kind.PROVED
    assert 0 < limit.value < math.inf
    bad = answers(instance.with_alpha(limit.value * excess))
    for name in ("strong_monotonicity", "uniqueness"):
        assert bad[name].value is None
        assert not bad[name].holds
        assert "m > 0 fails by" in bad[name].words
        advised = re.search(r"Take alpha <= ([-+.e\d]+),", bad[name].advice)
        assert advised is not None
        good = answers(instance.with_alpha(float(advised[1])))[name]
        assert good.holds
        assert good.kind is Kind.PROVED


def test_what_fails_says_by_how_much() -> None:
    found = answers(Equation(make_physics("denoise"), normal(1, *IMAGE, seed=0), scalar(-0.5), 3.0))
    words = found["uniqueness"].words
    assert "monotone up to 0.5" in words
    assert "alpha times that is 1.5" in words
    assert "fails by 0.5" in words
    assert found["unique_data"].value is None


@pytest.mark.parametrize(
    ("physics", "field", "word"),
    [
        ("mask", "wcrr", "No alpha helps"),
        ("wide", "untied", "No alpha helps"),
        ("mask", "crr", "Add a multiple of Tikhonov's"),
        ("denoise", "network", "declare traits"),
    ],
)
def test_advice_where_alpha_does_not_help(physics: str, field: str, word: str) -> None:
    found = answers(Instance(physics, field, 1).equation)["uniqueness"]
    assert not found.holds
    assert word in found.advice
    assert "contractive" in found.advice


def test_adding_what_the_advice_says_makes_the_field_monotone() -> None:
    mask = make_physics("mask")
    y = mask.A(normal(1, *IMAGE, seed=0))
    failing = answers(Equation(mask, y, scalar(-0.5), 1.0))["uniqueness"]
    found = re.search(r"add ([.\d]+) times x", failing.advice)
    assert found is not None
    mended = answers(Equation(mask, y, scalar(-0.5 + 1.01 * float(found[1])), 1.0))
    assert mended["uniqueness"].holds


@pytest.mark.parametrize("field", MONOTONE)
@pytest.mark.parametrize("physics", ["mask", "deficient", "blur"])
def test_monotone_fields_have_one_value_of_the_data(physics: str, field: str) -> None:
    instance = Instance(physics, field, 3)
    found = answers(instance.equation)["unique_data"]
    assert (found.value, found.kind, found.holds) == (1.0, Kind.PROVED, True)
    if field == "skew":  # an equilibrium need not exist
        return
    starts = [5.0 * normal(1, *IMAGE, seed=s) for s in (1, 2)]
    a = dense_physics(instance.physics)
    first, second = ((a @ equilibrium(instance.equation, s).flatten()) for s in starts)
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("physics", ["mask", "deficient", "wide", "denoise"])
@pytest.mark.parametrize("field", ["crr", "wcrr", "tied", "tv", "differences"])
def test_energies_that_attain_their_minimum_have_equilibria(physics: str, field: str) -> None:
    instance = Instance(physics, field, 2, 3.0)  # far above the limit of uniqueness
    found = answers(instance.equation)["existence"]
    assert (found.value, found.kind, found.holds) == (1.0, Kind.PROVED, True)
    equation, shape = instance.equation, (1, *IMAGE)

    def energy(flat: object) -> tuple[float, object]:
        value, e = equation.potential_and_residual(torch.as_tensor(flat).view(shape))
        return float(value), e.flatten().detach().numpy()

    best = min(
        float(
            torch.as_tensor(
                minimize(
                    energy,
                    normal(PIXELS, seed=s).numpy(),
                    jac=True,
                    method="BFGS",
                    options={"gtol": 1e-9, "maxiter": 2000},
                ).jac
            ).norm()
        )
        for s in range(4)
    )
    assert best < 1e-5


def test_energies_that_fall_forever_claim_nothing() -> None:
    """``R = c`` with c in the kernel of A: there is no equilibrium."""
    mask = make_physics("mask")
    lost = 1.0 - mask.A(torch.ones(1, *IMAGE, dtype=torch.float64))
    constant = Linear(torch.zeros(PIXELS, PIXELS, dtype=torch.float64), lost.flatten())
    found = answers(Equation(mask, mask.A(lost), constant, 1.0))
    assert found["existence"].value is None
    assert found["unique_data"].holds
    steep = build("ridge", filters=(3,), kernel_size=3, weak_convexity=1.5).double()
    assert not steep.traits().attaining
    v = 1e3 * normal(1, *IMAGE, seed=0)
    assert float(steep.potential(1e3 * v).detach()) < float(steep.potential(v).detach()) < 0


@pytest.mark.parametrize("physics", ["denoise", "blur", "mask"])
def test_bounded_fields_have_equilibria_where_nothing_is_lost(physics: str) -> None:
    field = make_field("untied", 1)
    field.set_sides(*(0.5 * normal(3, 1, 3, 3, seed=s) for s in (1, 2)))  # type: ignore[operator]
    made = make_physics(physics)
    equation = Equation(made, made.A(normal(1, *IMAGE, seed=0)), field, 1.0)
    found = answers(equation)
    assert not found["uniqueness"].holds
    if physics == "mask":
        assert found["existence"].value is None
        return
    assert (found["existence"].value, found["existence"].kind) == (1.0, Kind.PROVED)
    assert "outgrows" in found["existence"].words
    shape = (1, *IMAGE)
    ends = [
        root(lambda v: equation.residual(torch.as_tensor(v).view(shape)).flatten().numpy(), s)
        for s in 3.0 * normal(8, PIXELS, seed=8).numpy()
    ]
    assert min(float(abs(end.fun).max()) for end in ends) < 1e-9


class Declared(Regularizer):
    def __init__(self, traits: Traits) -> None:
        self.gradient_field = traits.gradient_field
        super().__init__()
        self.declared = traits

    def _field(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        return torch.zeros_like(x)

    def _known(self, constants: tuple[Tensor, ...]) -> Traits:
        return self.declared


def declared(traits: Traits, alpha: float | Tensor = 0.5, samples: int = 1) -> Hypotheses:
    y = normal(samples, *IMAGE, seed=0)
    return Hypotheses(Equation(make_physics("denoise"), y, Declared(traits), alpha))


def test_estimated_constants_prove_nothing() -> None:
    known = declared(
        Traits(
            gradient_field=False,
            modulus=estimated(-0.25, "a few samples"),
            lipschitz=estimated(1.0),
        )
    )
    for statement in existence_section(known).statements:
        assert statement.kind is Kind.ESTIMATED
        assert statement.holds
        assert "a few samples" in statement.words


def test_a_lipschitz_constant_alone_gives_uniqueness_for_small_alpha() -> None:
    known = declared(Traits(gradient_field=False, modulus=None, lipschitz=proved(2.0)), alpha=0.4)
    assert known.m is not None
    assert known.m.value == pytest.approx(0.2, rel=1e-3)
    assert not declared(
        Traits(gradient_field=False, modulus=None, lipschitz=proved(2.0)), alpha=0.6
    ).strong


def test_every_sample_of_a_batch_is_covered() -> None:
    weak = Traits(gradient_field=True, modulus=proved(-0.5), lipschitz=proved(1.0))
    alphas = torch.tensor([0.2, 1.0], dtype=torch.float64)
    known = declared(weak, alphas, samples=2)
    assert known.m == declared(weak, 1.0).m
    assert known.largest == declared(weak, 1.0).largest
    strong = Traits(gradient_field=True, modulus=proved(0.5), lipschitz=proved(1.0))
    assert declared(strong, alphas, samples=2).m == declared(strong, 0.2).m


def test_weight_of_the_data_counts() -> None:
    y = normal(1, *IMAGE, seed=0)
    known = Hypotheses(Equation(make_physics("denoise"), y, scalar(-0.5), 3.0, L2(sigma=0.5)))
    assert known.m is not None
    assert known.m.value == pytest.approx(4.0 - 1.5, rel=1e-4)
