"""The loss of a step and its gradient, in every mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learning_problems import pose, quick, small_bank, small_field, tied_as_untied, weights
from torch import Tensor

from equipoise.errors import HypothesisError
from equipoise.learn import PatchBank, TrainSettings
from equipoise.learn import step as step_module
from equipoise.learn.step import StepReport, accumulate_gradient, check_mode
from equipoise.regularizers.base import Regularizer

#: As tight as float64 allows.
TIGHT: dict[str, Any] = {
    "adjoint_tolerance": 1e-11,
    "max_products": 400,
    "max_evaluations": 4000,
    "warm_start": False,
}
TOLERANCE = 1e-12


def gradient(
    regularizer: Regularizer, bank: PatchBank, settings: TrainSettings, rows: Tensor | None = None
) -> tuple[StepReport, dict[str, Tensor]]:
    regularizer.zero_grad(set_to_none=True)
    rows = torch.arange(len(bank)) if rows is None else rows
    report = accumulate_gradient(regularizer, bank, rows, settings, TOLERANCE)
    found = {n: p.grad.clone() for n, p in regularizer.named_parameters() if p.grad is not None}
    return report, found


def loss_difference(
    regularizer: Regularizer,
    direction: dict[str, Tensor],
    bank: PatchBank,
    settings: TrainSettings,
) -> float:
    """Central difference of fourth order of the step's loss along a direction."""
    kept, h, values = weights(regularizer), 1e-3, []
    for factor in (-2, -1, 1, 2):
        moved = {name: kept[name] + factor * h * step for name, step in direction.items()}
        regularizer.load_state_dict(moved)
        values.append(gradient(regularizer, bank, settings)[0].loss)
    regularizer.load_state_dict(kept)
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)


@pytest.mark.parametrize(
    ("mode", "field", "task", "loss"),
    [
        ("bilevel", "tied-conv", "denoise", "mse"),
        ("equilibrium", "untied-conv", "denoise", "mse"),
        ("equilibrium", "untied-conv", "deblur", "huber"),
        ("bilevel", "tied-conv", "inpaint", "ssim"),
        ("unrolled", "untied-conv", "denoise", "mse"),
    ],
)
def test_gradient_agrees_with_finite_differences(
    mode: str, field: str, task: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The unrolled step size is a constant of the loss, not a function of the weights.
    monkeypatch.setattr(step_module, "jacobian_norm", lambda _, x: torch.full((len(x),), 10.0))
    bank, regularizer = small_bank(pose(task), count=3), small_field(field)
    settings = quick(mode=mode, loss=loss, **TIGHT)
    report, found = gradient(regularizer, bank, settings)
    assert report.usable == 1.0
    assert set(found) == {name for name, _ in regularizer.named_parameters()}
    # Every parameter has its share in both directions, however small its slope.
    steepest = {name: slope / slope.norm() for name, slope in found.items()}
    mixed = {name: d + 0.3 * torch.roll(d.flatten(), 1).view_as(d) for name, d in steepest.items()}
    for direction in (steepest, mixed):
        expected = loss_difference(regularizer, direction, bank, settings)
        slope = sum(float((found[name] * d).sum()) for name, d in direction.items())
        assert slope == pytest.approx(expected, rel=1e-6)


def test_tied_pair_gives_the_same_numbers_in_both_frameworks() -> None:
    bank, tied = small_bank(), small_field("tied-conv")
    untied = tied_as_untied(tied)
    a, by_potential = gradient(tied, bank, quick(mode="bilevel", **TIGHT))
    b, same_field = gradient(tied, bank, quick(mode="equilibrium", **TIGHT))
    c, by_operator = gradient(untied, bank, quick(mode="equilibrium", **TIGHT))
    assert a.loss == b.loss
    assert c.loss == pytest.approx(a.loss, rel=1e-9)
    assert all(torch.equal(by_potential[n], same_field[n]) for n in by_potential)
    pairs = {
        "regularizer.operator.layers.0": "regularizer.mean.layers.0",
        "regularizer.bias": "regularizer.bias",
        "log_strength": "log_strength",
        "log_scale": "log_scale",
    }
    assert set(pairs) == set(by_potential)
    for name, other in pairs.items():
        torch.testing.assert_close(by_operator[other], by_potential[name], rtol=1e-8, atol=1e-14)


def test_more_neumann_terms_come_closer_to_the_exact_gradient() -> None:
    bank, regularizer = small_bank(count=3), small_field("untied-conv")
    _, exact = gradient(regularizer, bank, quick(mode="equilibrium", **TIGHT))
    whole = torch.cat([exact[n].flatten() for n in sorted(exact)])
    errors = []
    for terms in (0, 2, 8, 200):
        settings = quick(mode="jacobian-free", neumann_terms=terms, **TIGHT)
        report, found = gradient(regularizer, bank, settings)
        part = torch.cat([found[n].flatten() for n in sorted(found)])
        errors.append(float((part - whole).norm() / whole.norm()))
        assert float(part @ whole) > 0
        assert report.adjoint_converged == 1.0
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-2
    assert errors[-1] < 1e-6


def test_bilevel_refuses_fields_without_potential() -> None:
    settings = quick(mode="bilevel")
    with pytest.raises(HypothesisError, match="mode equilibrium or jacobian-free"):
        check_mode(small_field("untied-conv"), settings)
    check_mode(small_field("tied-conv"), settings)
    check_mode(small_field("untied-conv"), quick(mode="equilibrium"))


def converged_rows(bank: PatchBank, regularizer: Regularizer, rows: list[int]) -> None:
    """Let the warm starts of some rows be exact solutions."""
    exact = small_bank()
    settings = quick(mode="equilibrium", **{**TIGHT, "warm_start": True})
    gradient(regularizer, exact, settings)
    for row in rows:
        bank.x[row] = exact.x[row]


def test_failed_samples_do_not_enter_the_loss() -> None:
    # With one evaluation only those samples are solved whose warm start is the solution.
    bank, regularizer = small_bank(), small_field("untied-conv")
    converged_rows(bank, regularizer, [1, 4])
    bank.x[0] += 1.0
    settings = quick(mode="equilibrium", **{**TIGHT, "warm_start": True, "max_evaluations": 1})
    mixed, found = gradient(regularizer, bank, settings)
    assert mixed.converged == mixed.usable == pytest.approx(2 / 6)
    good = small_bank()
    converged_rows(good, regularizer, [1, 4])
    alone, expected = gradient(regularizer, good, settings, torch.tensor([1, 4]))
    assert alone.usable == 1.0
    assert mixed.loss == pytest.approx(alone.loss, rel=1e-12)
    assert mixed.mse == pytest.approx(alone.mse, rel=1e-12)
    for name, slope in expected.items():
        torch.testing.assert_close(found[name], slope, rtol=1e-8, atol=1e-14)
    # Failed ones start afresh next time, the others where they were.
    assert torch.equal(bank.x[0], bank.problem.start(bank.y)[0])
    assert torch.equal(bank.x[4], good.x[4])


def test_a_batch_without_a_usable_sample_has_no_loss_and_no_gradient() -> None:
    bank, regularizer = small_bank(), small_field("untied-conv")
    settings = quick(mode="equilibrium", **{**TIGHT, "max_evaluations": 1})
    report, found = gradient(regularizer, bank, settings)
    assert report.usable == 0.0
    assert report.loss != report.loss
    assert not found


def test_the_penalty_acts_on_failed_samples_too() -> None:
    bank, regularizer = small_bank(), small_field("untied-conv")
    settings = quick(
        mode="equilibrium",
        jacobian_penalty=1.0,
        monotonicity_margin=3.0,
        **{**TIGHT, "max_evaluations": 1},
    )
    report, found = gradient(regularizer, bank, settings)
    assert report.usable == 0.0
    assert float(found["regularizer.mean.layers.0"].norm()) > 0


def test_the_penalty_leaves_gradient_fields_alone() -> None:
    bank, regularizer = small_bank(), small_field("tied-conv")
    without = gradient(regularizer, bank, quick(mode="equilibrium", **TIGHT))
    options = {"jacobian_penalty": 1.0, "monotonicity_margin": 3.0, **TIGHT}
    penalised = gradient(regularizer, bank, quick(mode="equilibrium", **options))
    assert penalised[0].loss == without[0].loss
    assert all(torch.equal(penalised[1][n], without[1][n]) for n in without[1])


def test_warm_starts_keep_solutions_and_adjoints() -> None:
    bank, regularizer = small_bank(), small_field("untied-conv")
    settings = quick(mode="equilibrium", **{**TIGHT, "warm_start": True})
    first, _ = gradient(regularizer, bank, settings)
    assert float(bank.q.norm()) > 0
    again, _ = gradient(regularizer, bank, settings)
    assert first.forward_evaluations > 5
    assert again.forward_evaluations <= 1
    assert again.adjoint_products <= 1 < first.adjoint_products
    assert again.loss == pytest.approx(first.loss, rel=1e-9)


def test_the_adjoint_can_be_named() -> None:
    bank, regularizer = small_bank(count=3), small_field("untied-conv")
    _, usual = gradient(regularizer, bank, quick(mode="equilibrium", **TIGHT))
    _, named = gradient(regularizer, bank, quick(mode="equilibrium", adjoint="bicgstab", **TIGHT))
    assert any(not torch.equal(usual[n], named[n]) for n in usual)
    for name in usual:
        torch.testing.assert_close(named[name], usual[name], rtol=1e-7, atol=1e-13)
