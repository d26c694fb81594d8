"""Pretraining by the source condition, then training proper."""

from __future__ import annotations

import pytest
import torch
from learning_problems import quick, same, small_bank, small_field, small_validation, weights

from equipoise.equation import Equation
from equipoise.learn import Progress, TrainSettings, train
from equipoise.learn.phases import main_phase, pretraining_phase
from equipoise.solve import solve


def warm(**changes: object) -> TrainSettings:
    usual = {"mode": "bilevel", "pretrain": "source-condition", "pretrain_steps": 5}
    return quick(**{**usual, **changes})


def test_phases_share_steps_and_clock() -> None:
    settings = warm(steps=10, time_budget=8.0)
    first = pretraining_phase(settings)
    assert first is not None
    assert not first.last
    assert first.settings.mode == "source-condition"
    assert first.share_done(1, 3.0) == 0.75
    assert first.limit_reached(4, 3.9) is None
    assert first.limit_reached(4, 4.0) is not None  # half of the time
    assert first.limit_reached(5, 0.1) is not None
    second = main_phase(settings, 5, 2.0)
    assert second.last
    assert (second.settings.mode, second.settings.pretrain) == ("bilevel", None)
    assert second.share_done(5, 2.0) == 0.0
    assert second.share_done(6, 5.0) == 0.5
    assert second.share_done(14, 2.0) == 0.9
    assert second.limit_reached(14, 7.9) is None
    assert second.limit_reached(15, 2.0) == "10 steps done"
    assert second.limit_reached(6, 8.0) == "time budget of 8 s spent"
    assert main_phase(settings, 5, 9.0).limit_reached(5, 9.0) is not None
    assert pretraining_phase(quick()) is None
    assert settings.total_steps == 15
    assert quick(steps=10).total_steps == 10


def test_pretraining_comes_first_and_is_told() -> None:
    told: list[Progress] = []
    field = small_field()
    result = train(field, small_bank(), small_validation(), warm(), on_progress=told.append)
    assert result.steps == 17
    assert result.pretrain_steps == 5
    assert 0 < result.pretrain_seconds < result.seconds
    assert {progress.steps for progress in told} == {17}
    assert result.log.forward[:5] == [0.0] * 5
    assert all(spent > 0 for spent in result.log.forward[5:])
    # Weights are measured where the phases meet.
    assert result.log.validation_step == [0, 4, 5, 8, 12, 16, 17]


def test_the_mode_begins_with_the_strength_that_was_found() -> None:
    # With a learning rate of nothing the second phase shows what it started with.
    field = small_field()
    bank = small_bank()
    settings = warm(steps=1, pretrain_steps=3, learning_rate=1e-12)
    result = train(field, bank, small_validation(), settings)
    start, at_switch = result.log.validation_psnr[0], result.log.validation_psnr[2]
    # Two searches end within their width, which is worth some hundredths of a dB.
    assert at_switch == pytest.approx(start, abs=0.05)
    # The strength is the best on the training patches.
    errors = []
    for alpha in (0.5, 1.0, 2.0):
        x = solve(Equation(bank.physics, bank.y, field, alpha), bank.y, tolerance=1e-6).x
        errors.append(float((x - bank.truth).square().mean()))
    assert errors[1] < min(errors[0], errors[2])


def test_pretraining_does_not_spoil_what_follows() -> None:
    errors = {}
    for settings in (quick(mode="bilevel", steps=20), warm(steps=20, pretrain_steps=20)):
        field, bank = small_field(), small_bank()
        train(field, bank, small_validation(), settings)
        x = solve(Equation(bank.physics, bank.y, field), bank.y, tolerance=1e-6).x
        errors[settings.pretrain] = float((x - bank.truth).square().mean())
    assert errors["source-condition"] < 1.02 * errors[None]


def test_patience_counts_from_the_end_of_pretraining() -> None:
    settings = warm(patience=1, pretrain_steps=9, learning_rate=1e-12, steps=50)
    result = train(small_field(), small_bank(), small_validation(), settings)
    assert result.pretrain_steps == 9
    assert result.steps < 20


def test_time_ends_pretraining_and_training() -> None:
    settings = warm(steps=10_000, pretrain_steps=10_000, time_budget=1.0, validate_every=1000)
    result = train(small_field(), small_bank(), small_validation(), settings)
    assert 0 < result.pretrain_steps <= result.steps < 10_000
    assert result.pretrain_seconds >= 0.5
    assert "time budget of 1 s" in result.stopped


def test_the_last_search_of_the_strength_counts_as_training() -> None:
    field = small_field()
    settings = quick(mode="source-condition", steps=4, validate_every=2)
    result = train(field, small_bank(), small_validation(), settings)
    assert result.seconds > result.log.seconds[-1]
    assert result.log.validation_step == [0, 2, 4]


def test_searches_between_do_not_change_what_is_learned() -> None:
    runs = []
    for every in (2, 8):
        field = small_field("untied-conv")
        torch.manual_seed(every)
        settings = quick(mode="source-condition", steps=8, validate_every=every)
        result = train(field, small_bank(), small_validation(), settings)
        runs.append((result.log.loss, weights(field)))
    assert runs[0][0] == pytest.approx(runs[1][0], rel=1e-3)  # norm control knows the strength
    assert not same(runs[0][1], weights(small_field("untied-conv")))
