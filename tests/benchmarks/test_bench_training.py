"""Training steps taken again and trainings against each other, on tiny sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import race, training
from benchmarks.record import Record, Value
from benchmarks.replay import cosine, exact_gradient, replay, trajectory
from equipoise.learn.schedules import minibatch
from equipoise.problems import photographs

TINY = replace(
    training.SHORT, patch=16, patches=8, steps=6, measured=2, race=3, crop=24, validate_every=3
)


def settings(**changes: Value) -> training.TrainSettings:
    usual: dict[str, Value] = {"steps": TINY.steps, "validate_every": TINY.steps, "batch_size": 4}
    return training._settings(TINY, 0, {**usual, **changes})


def test_replayed_steps_are_those_of_the_training() -> None:
    past = trajectory(photographs(), settings(learning_rate=0.01), 4, TINY.crop)
    assert (past.first, len(past.weights)) == (2, 4)
    tight = settings(tolerance=1e-5, adjoint_tolerance=1e-4).model_copy(
        update={"max_products": 300}
    )
    numbers, saved = [], 0.0
    for warm, cold in replay(past, tight, skip=2):
        numbers.append(warm.number)
        assert cold.number == warm.number
        assert warm.report.loss == pytest.approx(cold.report.loss, rel=1e-3)
        saved += cold.report.forward_evaluations - warm.report.forward_evaluations
        assert cosine(warm.gradient, cold.gradient) > 0.9999
        exact = exact_gradient(past, warm.number)
        assert min(cosine(warm.gradient, exact), cosine(cold.gradient, exact)) > 0.9999
        assert float(warm.gradient.norm() / exact.norm()) == pytest.approx(1.0, abs=0.01)
        other = exact_gradient(past, 0)  # another mini-batch, another gradient
        assert not torch.equal(minibatch(0, 8, 4, 0), minibatch(warm.number, 8, 4, 0))
        assert cosine(other, exact) < 0.9999
    assert numbers == [4, 5]
    assert saved > 0


@pytest.mark.parametrize("label", race.METHODS)
def test_every_method_runs_and_says_where_its_gradient_points(label: str) -> None:
    run = race.run(label, photographs(), settings(steps=4, validate_every=2), TINY.crop, 2)
    assert len(run.psnr) == len(run.seconds) == 3
    assert run.seconds == sorted(run.seconds)
    assert run.psnr[-1] > run.psnr[0]
    assert run.converged == 1.0
    assert run.time_to(run.psnr[0]) == 0.0
    assert run.time_to(100.0) is None
    assert len(run.cosines) == 2
    if label.startswith(("exact", "10 products")):
        assert min(run.cosines) > 0.999
        assert run.equilibrium_psnr == pytest.approx(run.psnr[-1], abs=0.01)
    else:
        assert max(run.cosines) < 0.9999


def test_the_record_has_both_tables_and_can_be_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training, "SHORT", TINY)
    few = {label: race.METHODS[label] for label in (race.WARM, race.UNROLLED)}
    monkeypatch.setattr(training, "METHODS", few)
    monkeypatch.setattr(training, "COMPARED", 1)
    said: list[str] = []
    record: Record = training.run(True, said.append)
    steps, races = record.tables
    assert [row.label for row in races.rows] == list(few)
    assert len(steps.rows) == 2  # adjoints as usual and exact
    for row in steps.rows:
        assert row.values["solved"] == 100.0
        assert float(row.values["warm_cosine"] or 0) > 0.99
    assert "required" in record.findings[0]
    path = tmp_path / "training.png"
    training.plot(record, path)
    assert path.stat().st_size > 1000


def test_a_target_that_is_missed_is_said() -> None:
    run = race.Run([0.0, 3.0], [20.0, 25.0], 25.0, 1.0, [0.9, 0.8], 0.1)
    reached = training._race_row([run], [24.0])
    assert reached["seconds"] == 3.0
    missed = training._race_row([run, run], [24.0, 26.0])
    assert missed["seconds"] == "not reached by 1 of 2: 25.00 dB in 3 s"
    assert (missed["cosine"], missed["worst"]) == (pytest.approx(0.85), 0.8)
    failed = training._race_row([replace(run, converged=0.5)], [24.0])
    assert failed["equilibrium"] == "not solved"
