"""Training runs: every mode, what is returned, when they stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from learning_problems import (
    pose,
    quick,
    same,
    scenes,
    small_bank,
    small_field,
    small_validation,
    tied_as_untied,
    weights,
)
from torch import Tensor

from equipoise.equation import Equation
from equipoise.errors import ConvergenceError, HypothesisError, UnknownNameError
from equipoise.learn import (
    PatchBank,
    Progress,
    TrainSettings,
    Validation,
    calibrate,
    learn,
    psnr,
    train,
    trainer,
)
from equipoise.learn.calibrate import FORCES, SCALES
from equipoise.learn.step import StepReport, accumulate_gradient
from equipoise.regularizers import Scaled
from equipoise.regularizers.base import Regularizer
from equipoise.solve import solve


def whole_loss(regularizer: Regularizer, bank: PatchBank) -> float:
    """The loss of all patches at their equilibria."""
    solution = solve(Equation(bank.physics, bank.y, regularizer), bank.y, tolerance=1e-6)
    assert solution.all_converged
    return float(0.5 * (solution.x - bank.truth).square().mean())


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("tied-conv", {"mode": "bilevel"}),
        ("untied-conv", {"mode": "equilibrium", "jacobian_penalty": 0.1}),
        ("untied-conv", {"mode": "jacobian-free"}),
        ("untied-conv", {"mode": "jacobian-free", "neumann_terms": 3}),
        ("tied-conv", {"mode": "unrolled", "unrolled_steps": 8}),
        ("tied-conv", {"mode": "bilevel", "loss": "l1"}),
        ("tied-conv", {"mode": "bilevel", "loss": "huber"}),
        ("tied-conv", {"mode": "bilevel", "loss": "ssim"}),
    ],
)
def test_every_mode_and_loss_lowers_the_error(field: str, options: dict[str, Any]) -> None:
    bank, regularizer = small_bank(), small_field(field)
    before = whole_loss(regularizer, bank)
    result = train(regularizer, bank, small_validation(), quick(steps=20, **options))
    assert result.regularizer is regularizer
    assert whole_loss(regularizer, bank) < 0.8 * before
    assert result.steps == result.best_step == 20
    assert result.log.validation_step == [0, 4, 8, 12, 16, 20]
    assert result.log.validation_psnr[-1] > result.log.validation_psnr[0] + 0.5
    assert len(result.log.loss) == len(result.log.seconds) == 20
    assert result.log.seconds == sorted(result.log.seconds)
    assert "20 steps" in result.stopped


def test_bilevel_training_refuses_fields_without_potential() -> None:
    with pytest.raises(HypothesisError):
        train(small_field("untied-conv"), small_bank(), small_validation(), quick(mode="bilevel"))


def test_tied_pair_learns_the_same_in_both_frameworks() -> None:
    losses, final = [], []
    for mode in ("bilevel", "equilibrium"):
        field = small_field("tied-conv")
        result = train(field, small_bank(), small_validation(), quick(mode=mode))
        losses.append(result.log.loss)
        final.append(weights(field))
    assert losses[0] == losses[1]
    assert same(*final)


def test_first_step_of_the_tied_pair_agrees_with_the_untied_one() -> None:
    # Other solvers, other parametrisation, the same field: the same loss to solver precision.
    tied = small_field("tied-conv")
    options = {"mode": "equilibrium", "tolerance": 1e-8, "first_tolerance": 1e-8, "steps": 1}
    losses = [
        train(field, small_bank(), small_validation(), quick(**options)).log.loss[0]
        for field in (tied_as_untied(tied), tied)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_seed_gives_the_same_numbers() -> None:
    def run(seed: int) -> tuple[list[float], dict[str, Tensor]]:
        settings = quick(mode="equilibrium", jacobian_penalty=0.1, seed=seed)
        result = learn(
            "contractive",
            {"width": 3, "depth": 1, "kernel_size": 3},
            pose(),
            scenes(3),
            scenes(2, seed=9),
            settings,
            validation_crop=16,
        )
        return result.log.loss, weights(result.regularizer)

    losses, final = run(0)
    torch.rand(7)  # the global generator must not matter
    again, final_again = run(0)
    other, _ = run(1)
    assert losses == again
    assert same(final, final_again)
    assert losses != other


def test_learn_refuses_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tied-conv'"):
        learn("tide-conv", {}, pose(), scenes(2), scenes(1), quick())


def test_warm_starts_save_evaluations() -> None:
    spent = {}
    for warm in (True, False):
        settings = quick(
            mode="equilibrium",
            warm_start=warm,
            learning_rate=1e-3,
            tolerance=1e-5,
            first_tolerance=1e-5,
            adjoint_tolerance=1e-5,
        )
        result = train(small_field("untied-conv"), small_bank(), small_validation(), settings)
        # From the third step on every patch has been met before.
        spent[warm] = sum(result.log.forward[2:]), sum(result.log.adjoint[2:])
    assert spent[True][0] < 0.8 * spent[False][0]
    assert spent[True][1] < 0.8 * spent[False][1]


# ---- gradients that cannot be used -----------------------------------------------------------


def with_gradient(change: Callable[[int, Regularizer], None]) -> Callable[..., StepReport]:
    """The step's gradient, spoilt by a function of the number of the call."""
    calls = iter(range(1000))

    def spoilt(regularizer: Regularizer, *rest: Any) -> StepReport:
        report = accumulate_gradient(regularizer, *rest)
        change(next(calls), regularizer)
        return report

    return spoilt


def test_a_step_with_nan_gradients_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(call: int, regularizer: Regularizer) -> None:
        if call == 2:
            gradient = next(regularizer.parameters()).grad
            assert gradient is not None
            gradient.view(-1)[0] = torch.nan

    monkeypatch.setattr(trainer, "accumulate_gradient", with_gradient(spoil))
    field, seen = small_field(), []
    train(
        field,
        small_bank(),
        small_validation(),
        quick(steps=4),
        on_progress=lambda _: seen.append(weights(field)),
    )
    assert same(seen[2], seen[1])
    assert not same(seen[1], seen[0])
    assert not same(seen[3], seen[2])
    assert all(torch.isfinite(t).all() for t in seen[3].values())


def test_gradients_are_clipped_to_their_common_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    def blow_up(call: int, regularizer: Regularizer) -> None:
        for parameter in regularizer.parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(1e6 if call == 0 else 1e-6)

    monkeypatch.setattr(trainer, "accumulate_gradient", with_gradient(blow_up))
    field, norms = small_field(), []

    def measure(_: Progress) -> None:
        gradients = [p.grad.flatten() for p in field.parameters() if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))

    train(field, small_bank(), small_validation(), quick(steps=2, clip=0.25), on_progress=measure)
    assert norms[0] == pytest.approx(0.25, rel=1e-4)
    assert 0 < norms[1] < 1e-3


# ---- when it stops, and with which weights ----------------------------------------------------


class Scripted(Validation):
    """A validation that says what a script tells it, and remembers the weights."""

    def follow(self, script: list[tuple[float, float]]) -> Scripted:
        self.script, self.seen = iter(script), []
        return self

    def measure(self, regularizer: Regularizer) -> tuple[float, float]:
        self.seen.append(weights(regularizer))
        return next(self.script)


def scripted(*script: tuple[float, float]) -> Scripted:
    return Scripted(**vars(small_validation())).follow(list(script))


def test_time_budget_ends_training() -> None:
    result = train(
        small_field(), small_bank(), small_validation(), quick(steps=10_000, time_budget=1e-6)
    )
    assert result.steps == 1
    assert "time budget" in result.stopped
    assert result.log.validation_step == [0, 1]  # measured at the end, whatever the interval


def test_without_patience_the_latest_converging_weights_are_returned() -> None:
    validation = scripted((20.0, 1.0), (25.0, 1.0), (23.0, 1.0), (26.0, 0.5))
    field = small_field()
    result = train(field, small_bank(), validation, quick())
    assert (result.best_step, result.best_psnr) == (8, 23.0)
    assert same(weights(field), validation.seen[2])
    assert not same(weights(field), validation.seen[3])


def test_early_stopping_returns_the_best_converging_weights() -> None:
    validation = scripted((20.0, 1.0), (25.0, 1.0), (27.0, 0.5), (24.0, 1.0), (26.0, 1.0))
    field = small_field()
    result = train(field, small_bank(), validation, quick(steps=100, patience=2))
    assert (result.best_step, result.best_psnr) == (4, 25.0)
    assert result.steps == 12
    assert "2 validations" in result.stopped
    assert same(weights(field), validation.seen[1])


def test_gains_renew_the_patience() -> None:
    validation = scripted(*((20.0 + k, 1.0) for k in range(4)))
    result = train(small_field(), small_bank(), validation, quick(patience=1))
    assert (result.steps, result.best_step, result.best_psnr) == (12, 12, 23.0)


def test_early_stopping_on_real_validations() -> None:
    # Steps so large that the start is hardly beaten.
    field, validation = small_field(), small_validation()
    settings = quick(steps=200, learning_rate=3.0, patience=2, validate_every=2)
    result = train(field, small_bank(), validation, settings)
    converging = [
        value
        for value, share in zip(
            result.log.validation_psnr, result.log.validation_converged, strict=True
        )
        if share == 1.0
    ]
    assert result.steps < 200
    assert result.best_psnr == max(converging)
    assert small_validation().measure(field)[0] == pytest.approx(result.best_psnr, abs=0.01)


def test_weights_that_do_not_converge_are_never_returned() -> None:
    validation = small_validation(tolerance=1e-9, max_evaluations=2)
    with pytest.raises(ConvergenceError, match="lower the learning rate"):
        train(small_field(), small_bank(), validation, quick())


def test_progress_is_told_after_every_step() -> None:
    told: list[Progress] = []
    result = train(
        small_field(), small_bank(), small_validation(), quick(steps=5), on_progress=told.append
    )
    assert [p.step for p in told] == [1, 2, 3, 4, 5]
    assert {p.steps for p in told} == {5}
    assert [p.report.loss for p in told] == result.log.loss
    assert told[2].psnr == result.log.validation_psnr[0]
    assert told[3].psnr == result.log.validation_psnr[1]
    assert result.mean("loss") == pytest.approx(sum(result.log.loss) / 5)
    result.log.adjoint[:] = [math.nan, 2.0, 4.0]
    assert result.mean("adjoint") == 3.0


# ---- calibration ------------------------------------------------------------------------------


def test_calibration_takes_the_best_point_of_its_grid() -> None:
    bank, field = small_bank(), small_field()
    a, s = field.strength, field.scale

    def score(strength: float, scale: float) -> float:
        trial = Scaled(field.regularizer, strength, scale)
        equation = Equation(bank.physics, bank.y, trial)
        x = solve(equation, bank.y, tolerance=1e-2, max_evaluations=60).x
        return float(psnr(x, bank.truth).mean())

    grid = {(a * t * f, s * t): score(a * t * f, s * t) for t in SCALES for f in FORCES}
    calibrate(field, bank)
    assert max(grid.values()) > grid[(a, s)] + 0.3  # the start is a point of the grid
    best = max(grid, key=lambda point: grid[point])
    assert (field.strength, field.scale) == pytest.approx(best)


def test_calibration_uses_the_samples_it_is_told_to() -> None:
    bank, one, all_ = small_bank(), small_field(), small_field()
    bank.truth[1:] = bank.y[1:]  # nothing to remove there: the weakest field is best
    calibrate(one, bank, samples=1)
    calibrate(all_, bank, samples=6)
    assert all_.strength / all_.scale < one.strength / one.scale


def test_settings_survive_json() -> None:
    settings = quick(mode="unrolled", time_budget=3.5, adjoint="gmres")
    assert TrainSettings.model_validate_json(settings.model_dump_json()) == settings
