"""The study of rates: exponents where theory is sharp, and bounds that no error exceeds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from equipoise.bounds import Kind
from equipoise.certify import rate_bounds
from equipoise.solve import solve
from equipoise.study import StudySettings, run_study
from equipoise.study.cases import Case, cases
from equipoise.study.gap import gap_bound
from equipoise.study.rates import LEVELS, QUANTITIES, RULES, measure, run_case
from equipoise.study.records import CaseRecord
from equipoise.study.regimes import spectrum_of
from equipoise.study.settings import StudySettings as Settings
from equipoise.study.solving import equation_of
from equipoise.study.truths import Rule, draw_noise, source_truth
from equipoise.vectors import norm


def one(physics: str, regularizer: str, size: int) -> tuple[Case, StudySettings]:
    settings = Settings(physics=(physics,), regularizers=(regularizer,), size=size, repeats=2)
    (case,) = cases(settings, (), ())
    return case, settings


def slope(record: CaseRecord, quantity: str, rule: str = "linear") -> float:
    number = record.number(f"slope_{quantity}_{rule}")
    assert number is not None
    assert number.value is not None
    return number.value


def test_the_usual_levels_span_three_decades() -> None:
    assert math.log10(LEVELS[0] / LEVELS[-1]) >= 3.0


@pytest.mark.parametrize("regularizer", ["tikhonov", "contractive"])
@pytest.mark.parametrize(
    ("physics", "size", "regime", "expected"),
    [
        ("inpaint", 16, "gap", {"norm": 1.0, "bregman": 2.0, "residual": 1.0}),
        ("blur", 32, "across", {"norm": 0.5, "bregman": 1.0, "residual": 1.0}),
    ],
)
def test_slopes_where_theory_is_sharp(
    regularizer: str, physics: str, size: int, regime: str, expected: dict[str, float]
) -> None:
    case, settings = one(physics, regularizer, size)
    record = run_case(case, settings)
    assert record.unsolved == 0
    assert record.solves > 0
    first = "Gap case" if regime == "gap" else "Spectrum reaching across"
    assert record.findings[0].startswith(first)
    for quantity, exponent in expected.items():
        number = record.number(f"slope_{quantity}_linear")
        assert number is not None
        assert number.theory == exponent
        assert number.value == pytest.approx(exponent, abs=0.1)
        assert number.status == "CONVERGED"
    if regularizer == "tikhonov":
        off = record.number("closed_form_difference")
        assert off is not None
        assert off.value is not None
        assert off.value < 1e-10


@pytest.mark.parametrize("physics", ["inpaint", "blur", "sparse-view", "limited-angle"])
@pytest.mark.parametrize("regularizer", ["tikhonov", "crr", "contractive"])
def test_no_error_exceeds_its_proved_bound(physics: str, regularizer: str) -> None:
    case, settings = one(physics, regularizer, 12)
    truth = source_truth(case, settings).repeated(2)
    levels = torch.tensor([1e-1, 1e-2, 1e-4], dtype=torch.float64)
    for rule in RULES:
        found = measure(case, truth, rule, levels, settings)
        assert found.kind is Kind.PROVED
        expected = {"bregman", "residual"} | ({"norm"} if regularizer != "crr" else set())
        assert set(found.bounds) == expected
        for quantity, bound in found.bounds.items():
            assert bool((found.values[quantity] <= bound).all()), (rule.name, quantity)


def test_the_gap_bound_is_tight_for_tikhonov_and_a_mask_and_beats_the_root_rate() -> None:
    case, settings = one("inpaint", "tikhonov", 12)
    truth = source_truth(case, settings)
    alpha = 1e-3
    eta = draw_noise(case, truth.y, 1e-3 * norm(truth.y), torch.Generator().manual_seed(0))
    equation = equation_of(case, truth.y + eta, alpha)
    x = solve(equation, torch.zeros_like(truth.x), tolerance=1e-14).x
    pair = rate_bounds(equation, x, truth.x, truth.element)
    assert pair.data is not None
    assert pair.distance is not None
    gap = gap_bound(equation, x, truth.x, truth.element, pair.data)
    assert gap is not None
    error = norm(x - truth.x)
    assert bool((error <= gap).all())
    assert bool((gap <= 1.01 * error).all())
    assert bool((gap < 0.2 * pair.distance).all())
    # Loosely solved, the residual pays.
    loose = x + 1e-3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    loose_pair = rate_bounds(equation, loose, truth.x, truth.element)
    assert loose_pair.data is not None
    paid = gap_bound(equation, loose, truth.x, truth.element, loose_pair.data)
    assert paid is not None
    assert bool((norm(loose - truth.x) <= paid).all())


def test_the_gap_bound_pays_for_residuals_that_the_data_do_not_see() -> None:
    case, settings = one("inpaint", "tikhonov", 12)
    truth = source_truth(case, settings)
    equation = equation_of(case, truth.y, 1e-3)
    hidden = torch.randn(truth.x.shape, generator=torch.Generator().manual_seed(1)).double()
    hidden -= case.physics.A_adjoint(case.physics.A(hidden))
    # Of Tikhonov and in the kernel of the mask, R(x) - R(z) is all of the residual.
    x = truth.x + 100.0 * hidden
    data = torch.zeros(len(x), dtype=torch.float64)
    gap = gap_bound(equation, x, truth.x, truth.element, data)
    assert gap is not None
    assert bool((norm(x - truth.x) <= gap).all())
    assert bool((gap <= 1.01 * norm(x - truth.x)).all())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_starts_at_the_same_alpha_and_falls_with_its_power(rule: Rule) -> None:
    case, settings = one("inpaint", "tikhonov", 12)
    truth = source_truth(case, settings)
    levels = torch.tensor([1e-1, 1e-2, 1e-3], dtype=torch.float64)
    found = measure(case, truth, rule, levels, settings).alpha
    first = 0.1 * float(norm(truth.y).mean() / truth.element.w_norm.mean())
    expected = [first * 10.0 ** (-k * rule.power) for k in range(3)]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_no_gap_bound_without_strong_monotonicity() -> None:
    case, settings = one("inpaint", "crr", 12)
    truth = source_truth(case, settings)
    equation = equation_of(case, truth.y, 0.1)
    data = torch.ones(len(truth.y), dtype=torch.float64)
    assert gap_bound(equation, truth.x, truth.x, truth.element, data) is None


def test_cases_of_the_spectrum_and_their_exponents() -> None:
    alphas = torch.tensor([1e-1, 1e-4], dtype=torch.float64)
    found = {}
    for name in ("inpaint", "blur", "sparse-view"):
        case, _ = one(name, "tikhonov", 32)
        found[name] = spectrum_of(equation_of(case, case.physics.A(case.images), 1.0), alphas)
    assert [s.regime for s in found.values()] == ["gap", "across", "between"]
    assert [s.kernel for s in found.values()] == [True, False, True]
    gap, across = found["inpaint"], found["blur"]
    assert gap.exponents(1.0) == {"residual": 1.0, "bregman": 2.0, "norm": 1.0}
    assert across.exponents(1.0) == {"residual": 1.0, "bregman": 1.0, "norm": 0.5}
    assert across.exponents(0.5) == {"residual": 0.5, "bregman": 0.5, "norm": 0.25}
    assert across.exponents(2.0) == {"residual": 1.0, "bregman": 0.0, "norm": 0.0}
    case, _ = one("blur", "crr", 16)
    weak = spectrum_of(equation_of(case, case.physics.A(case.images), 1.0), alphas)
    assert weak.regime == "between"
    assert "not known to be strongly monotone" in weak.words


def test_solves_that_fail_are_marked_and_enter_no_slope() -> None:
    case, settings = one("blur", "contractive", 12)
    starved = settings.model_copy(update={"max_evaluations": 3})
    record = run_case(case, starved)
    assert record.unsolved > 0
    curve = record.series("norm", "linear")
    assert curve is not None
    assert not all(curve.solved)
    assert not any(
        math.isfinite(y) for y, solved in zip(curve.y, curve.solved, strict=True) if not solved
    )
    number = record.number("slope_norm_linear")
    assert number is not None
    assert number.status != "CONVERGED"
    assert number.value is None or math.isnan(number.value)
    assert any("did not converge" in line for line in record.findings)


def test_record_is_strict_json_with_statuses() -> None:
    import json

    settings = Settings(
        physics=("inpaint",), regularizers=("tikhonov",), size=12, noise_levels=(1e-3, 1e-1)
    )
    study = run_study("rates", settings)
    text = json.dumps(study.record(), allow_nan=False)
    found = json.loads(text)
    assert set(found) == {
        "study",
        "title",
        "settings",
        "cases",
        "versions",
        "seconds",
        "run",
        "notes",
    }
    (case,) = found["cases"]
    assert [panel["name"] for panel in case["panels"]] == list(QUANTITIES)
    for panel in case["panels"]:
        for curve in panel["series"]:
            assert curve["x"] == [1e-1, 1e-3]
            assert len(curve["y"]) == 2
            if curve["role"] == "measured":
                assert curve["status"] == ["CONVERGED", "CONVERGED"]
            else:
                assert curve["kind"] == "PROVED"
    assert case["monotone"] is True
    assert replace(study.cases[0], numbers=()).number("slope_norm_linear") is None
