"""The studies of convergence and of the choice of alpha."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from equipoise.certify import source_element
from equipoise.errors import UnknownNameError
from equipoise.status import Status
from equipoise.study import STUDIES, parameter_choice, run_study
from equipoise.study.cases import Case, cases
from equipoise.study.convergence import RULES, run_case
from equipoise.study.parameter_choice import RULES as ALPHA_RULES
from equipoise.study.parameter_choice import TAU, Batch, Choice, a_priori, discrepancy
from equipoise.study.parameter_choice import run_case as run_alpha
from equipoise.study.records import CaseRecord
from equipoise.study.settings import StudySettings
from equipoise.study.solving import solve_case
from equipoise.study.truths import draw_noise
from equipoise.vectors import norm


def one(physics: str, regularizer: str, size: int) -> tuple[Case, StudySettings]:
    settings = StudySettings(physics=(physics,), regularizers=(regularizer,), size=size, repeats=2)
    (case,) = cases(settings, (), ())
    return case, settings


def value(record: CaseRecord, name: str) -> float:
    number = record.number(name)
    assert number is not None
    assert number.value is not None
    return number.value


def test_blur_converges_exactly_under_the_hypotheses() -> None:
    case, settings = one("blur", "contractive", 24)
    record = run_case(case, settings)
    assert record.unsolved == 0
    first = {rule.name: value(record, f"error_first_{rule.name}") for rule in RULES}
    last = {rule.name: value(record, f"error_last_{rule.name}") for rule in RULES}
    assert last["linear"] < 0.1 * first["linear"]
    assert last["root"] < 0.3 * first["root"]
    assert last["constant"] > 0.3 * first["constant"]
    assert last["cube"] > 3.0 * first["cube"]
    words = {
        rule.name: next(f for f in record.findings if f.startswith(rule.label)) for rule in RULES
    }
    assert "hypotheses met" in words["linear"]
    assert "falls" in words["linear"]
    assert "α → 0 fails" in words["constant"]
    assert "GROWS" in words["cube"]
    assert "unbounded" in words["cube"]
    assert any("one equilibrium" in line for line in record.findings)


def test_the_unconstrained_network_has_several_equilibria() -> None:
    case, settings = one("inpaint", "network", 16)
    few = settings.model_copy(update={"noise_levels": (1e-1, 1e-2)})
    record = run_case(case, few)
    assert value(record, "spread_last_linear") > 0.1
    assert any("SEVERAL" in line for line in record.findings)
    assert any("not known to be monotone" in line for line in record.findings)


def test_solves_that_fail_are_counted_and_named() -> None:
    case, settings = one("inpaint", "network", 12)
    starved = settings.model_copy(update={"max_evaluations": 3, "noise_levels": (1e-1,)})
    record = run_case(case, starved)
    assert record.unsolved > 0
    assert any("did not converge" in line and "ITERATION_LIMIT" in line for line in record.findings)
    curve = record.series("error", "linear")
    assert curve is not None
    assert curve.status == ("ITERATION_LIMIT",)


def _batch(case: Case, level: float) -> Batch:
    y = case.physics.A(case.images)
    delta = level * norm(y)
    noise = draw_noise(case, y, delta, torch.Generator().manual_seed(0))
    return Batch(case.images, y + noise, delta)


def test_discrepancy_principle_is_met_by_the_bisection() -> None:
    case, settings = one("blur", "contractive", 16)
    batch = _batch(case, 0.05)
    choice = discrepancy(case, batch, (1e-6, 10.0), settings)
    assert not choice.at_limit.any()
    x = solve_case(case, batch.y, choice.alpha, settings).x
    misfit = norm(case.physics.A(x) - batch.y) / batch.delta
    assert misfit.tolist() == pytest.approx([TAU, TAU], rel=0.03)


def test_discrepancy_without_an_alpha_takes_the_nearer_end_and_says_so() -> None:
    case, settings = one("blur", "tikhonov", 16)
    batch = _batch(case, 0.05)
    choice = discrepancy(case, batch, (1e-9, 1e-8), settings)
    assert choice.at_limit.all()
    assert bool((choice.alpha > 9e-9).all())


def test_a_priori_choice_shifts_the_data_as_far_as_the_noise() -> None:
    case, _ = one("blur", "contractive", 16)
    batch = _batch(case, 0.05)
    single = Batch(batch.truth[:1], batch.y[:1], batch.delta[:1])
    alpha, limited = a_priori(case, single)
    assert not limited
    w = source_element(case.physics, case.regularizer.field(single.truth), alpha).w_norm
    assert alpha * float(w) == pytest.approx(float(single.delta), rel=1e-6)


@pytest.mark.parametrize("physics", ["inpaint", "blur"])
def test_no_rule_beats_the_oracle_by_more_than_the_grid_allows(physics: str) -> None:
    case, settings = one(physics, "tikhonov", 16)
    record = run_alpha(case, settings.model_copy(update={"noise_levels": (1e-1, 1e-2)}))
    assert record.unsolved == 0
    ratios = [n for n in record.numbers if n.name.startswith("error_ratio")]
    assert len(ratios) == 6
    for number in ratios:
        assert number.value is not None
        learned = number.name.startswith("error_ratio_learned")
        assert number.value >= (1.0 if learned else 0.97)
        assert number.value < 3.0
        assert number.status == "CONVERGED"
    oracle = record.series("error", "oracle")
    assert oracle is not None
    assert all(math.isfinite(y) for y in oracle.y)


def test_alpha_says_when_bisection_is_without_ground() -> None:
    case, settings = one("inpaint", "network", 12)
    small = settings.model_copy(update={"noise_levels": (0.1,), "max_evaluations": 200})
    assert any("without ground" in line for line in run_alpha(case, small).findings)


def test_alphas_at_the_limit_of_their_search_are_marked_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case, settings = one("blur", "tikhonov", 16)
    few = settings.model_copy(update={"noise_levels": (1e-1, 1e-2)})

    def marks(record: CaseRecord) -> dict[str, tuple[bool, ...]]:
        found = {}
        for rule in ALPHA_RULES:
            curves = [record.series(panel, rule) for panel in ("error", "alpha")]
            assert curves[0] is not None
            assert curves[1] is not None
            assert curves[0].limited == curves[1].limited
            found[rule] = curves[0].limited
        return found

    inside = run_alpha(case, few)
    assert not any("limit" in line or "nearer end" in line for line in inside.findings)
    assert not any(any(limited) for limited in marks(inside).values())
    # Strengths that are all far too small, for every rule.
    monkeypatch.setattr(parameter_choice, "GRID", (1e-7, 1e-6, 1e-5))
    monkeypatch.setattr(parameter_choice, "SEARCHED", (1e-8, 1e-6))
    outside = run_alpha(case, few)
    assert all(limited == (True, True) for limited in marks(outside).values())
    lines = [line for line in outside.findings if "alphas sit at the" in line]
    assert len(lines) == 4
    images = 2 * len(case.images) * settings.repeats
    assert all(f": {images} of {images} alphas" in line for line in lines)


def test_the_least_of_several_is_at_the_limit_where_a_side_is_unknown() -> None:
    inf = math.inf
    columns = [[3.0, 1.0, 2.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [inf, 1.0, 2.0], [inf, inf, inf]]
    error, index, limited = parameter_choice._least(torch.tensor(columns).mT)
    assert error.tolist() == [1.0, 1.0, 1.0, 1.0, inf]
    assert index[:4].tolist() == [1, 0, 2, 1]
    assert limited.tolist() == [False, True, True, True, False]


def test_solves_along_a_grid_belong_to_its_alphas() -> None:
    case, settings = one("blur", "tikhonov", 16)
    batch, grid = _batch(case, 0.05), torch.tensor([1e-4, 1e-2, 1.0], dtype=torch.float64)
    found = parameter_choice._along(case, batch, grid, settings)
    for alpha, choice in zip(grid, found, strict=True):
        assert choice.alpha.tolist() == [float(alpha)] * len(batch.y)
        x = solve_case(case, batch.y, float(alpha), settings).x
        error = norm(x - batch.truth) / norm(batch.truth)
        torch.testing.assert_close(choice.error, error, rtol=1e-3, atol=0)
    best = parameter_choice._best_of_each(found, grid)
    errors = torch.stack([choice.error for choice in found])
    assert torch.equal(best.error, errors.min(0).values)
    assert torch.equal(best.alpha, grid[errors.argmin(0)])


def test_the_learned_alpha_is_best_on_the_mean_of_the_other_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case, settings = one("blur", "tikhonov", 16)
    few = settings.model_copy(update={"noise_levels": (0.1,)})
    errors = {True: ((1.0, 3.0), (2.0, 2.1), (3.0, 2.0)), False: ((9.0, 9.0),) * 3}

    def along(case: Case, batch: Batch, grid: torch.Tensor, _: StudySettings) -> list[Choice]:
        learning = len(batch.y) == len(case.learning)
        rows = errors[learning]
        count = len(batch.y)
        return [
            Choice(
                alpha.expand(count),
                torch.tensor(row).double().repeat(count)[:count],
                (Status.CONVERGED,) * count,
                torch.zeros(count, dtype=torch.bool),
            )
            for alpha, row in zip(grid, rows, strict=True)
        ]

    monkeypatch.setattr(parameter_choice, "_along", along)
    monkeypatch.setattr(parameter_choice, "GRID", (0.1, 1.0, 10.0))
    curve = run_alpha(replace(case, learning=case.learning[:2]), few).series("alpha", "learned")
    assert curve is not None
    # Squares are 10, 8.41 and 13: the first image alone would choose 0.1, the second 10.
    assert curve.y == (pytest.approx(0.1),)


def test_a_priori_takes_the_geometric_mean_of_the_images() -> None:
    case, _ = one("blur", "contractive", 16)
    batch = _batch(case, 0.05)
    wide = Batch(batch.truth, batch.y, batch.delta * torch.tensor([1e-2, 1.0]).double())
    singles = [
        a_priori(case, Batch(wide.truth[i : i + 1], wide.y[i : i + 1], wide.delta[i : i + 1]))[0]
        for i in range(2)
    ]
    assert max(singles) > 10 * min(singles)
    assert a_priori(case, wide)[0] == pytest.approx(math.prod(singles) ** 0.5, rel=1e-6)


def test_unknown_studies_are_named() -> None:
    with pytest.raises(UnknownNameError, match="rates"):
        run_study("rate", StudySettings())
    assert set(STUDIES) == {"stability", "convergence", "rates", "lower-bound", "alpha"}
