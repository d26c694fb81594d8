"""Upper losses, schedules, mini-batches."""

from __future__ import annotations

import math

import pydantic
import pytest
import torch
from learning_problems import pose, quick, scenes, small_bank, small_field, small_validation

from equipoise.errors import UnknownNameError
from equipoise.learn import LOSSES, TrainSettings, make_validation, psnr, upper_loss
from equipoise.learn.schedules import learning_rate_at, minibatch, share_done, tolerance_at


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 1, 16, 16, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 1, 16, 16, generator=generator, dtype=torch.float64)
    return truth + 0.08 * noise, truth


def test_losses_are_what_their_names_say() -> None:
    x, truth = pair()
    error = (x - truth).abs()
    huber = torch.where(error < 0.05, 0.5 * error.square(), 0.05 * (error - 0.025))
    assert float(upper_loss("mse")(x, truth)) == pytest.approx(float(0.5 * error.square().mean()))
    assert float(upper_loss("l1")(x, truth)) == pytest.approx(float(error.mean()))
    assert float(upper_loss("huber")(x, truth)) == pytest.approx(float(huber.mean()))
    assert float(upper_loss("ssim")(truth, truth)) == pytest.approx(0.0, abs=1e-9)
    assert 0.01 < float(upper_loss("ssim")(x, truth)) < 1.0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_grow_with_the_error(name: str) -> None:
    x, truth = pair()
    loss = upper_loss(name)
    assert float(loss(truth, truth)) < float(loss(0.5 * (x + truth), truth)) < float(loss(x, truth))


def test_unknown_loss_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'huber'") as caught:
        upper_loss("hubert")
    assert caught.value.nearest == "huber"
    with pytest.raises(pydantic.ValidationError):
        TrainSettings(loss="hubert")  # type: ignore[arg-type]


def test_settings_refuse_what_makes_no_sense() -> None:
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"mode": "bilvel"}, {"stpes": 5}):
        with pytest.raises(pydantic.ValidationError):
            TrainSettings(**wrong)


def test_learning_rate_warms_up_and_falls() -> None:
    cosine = quick(learning_rate=0.4, warmup=3, schedule="cosine")
    assert learning_rate_at(0, 0.0, cosine) == pytest.approx(0.1)
    assert learning_rate_at(2, 0.0, cosine) == pytest.approx(0.3)
    assert learning_rate_at(3, 0.0, cosine) == pytest.approx(0.4)
    assert learning_rate_at(9, 0.5, cosine) == pytest.approx(0.4 * 0.51)
    assert learning_rate_at(9, 1.0, cosine) == pytest.approx(0.4 / 50)
    step = quick(learning_rate=0.9, schedule="step")
    rates = [learning_rate_at(9, share, step) for share in (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)]
    assert rates == pytest.approx([0.9, 0.9, 0.3, 0.3, 0.1, 0.1])
    constant = quick(learning_rate=0.9, schedule="constant")
    assert learning_rate_at(9, 1.0, constant) == 0.9


def test_tolerance_falls_geometrically_over_the_first_half() -> None:
    settings = quick(tolerance=1e-4, first_tolerance=1e-2)
    found = [tolerance_at(share, settings) for share in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([1e-2, 1e-3, 1e-4, 1e-4])
    strict = quick(tolerance=1e-2, first_tolerance=1e-4)  # never tighter than at the end
    assert tolerance_at(0.0, strict) == pytest.approx(1e-2)


def test_share_done_follows_whichever_ends_first() -> None:
    assert share_done(25, 1e9, quick(steps=100)) == 0.25
    timed = quick(steps=100, time_budget=10.0)
    assert share_done(10, 5.0, timed) == 0.5
    assert share_done(60, 5.0, timed) == 0.6
    assert share_done(60, 50.0, timed) == 1.0


def test_an_epoch_covers_every_patch_once() -> None:
    epochs = [
        torch.cat([minibatch(step, 12, 4, seed=0) for step in range(3 * k, 3 * k + 3)])
        for k in range(3)
    ]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(12))
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(minibatch(4, 12, 4, seed=0), minibatch(4, 12, 4, seed=0))
    assert not torch.equal(minibatch(4, 12, 4, seed=1), minibatch(4, 12, 4, seed=0))


def test_batches_that_do_not_divide_the_bank_repeat_nothing_within_an_epoch() -> None:
    epoch = torch.cat([minibatch(step, 11, 4, seed=0) for step in range(2)]).tolist()
    assert len(set(epoch)) == 8
    assert sorted(minibatch(0, 3, 8, seed=0).tolist()) == [0, 1, 2]


def test_validation_measures_mean_psnr_and_share_converged() -> None:
    validation, field = small_validation(tolerance=1e-8), small_field()
    value, converged = validation.measure(field)
    assert converged == 1.0
    assert value == pytest.approx(float(psnr(validation.x, validation.truth).mean()))
    again = small_validation(tolerance=1e-12, max_evaluations=3)
    start = again.x.clone()
    assert again.measure(field)[1] == 0.0
    assert torch.equal(again.x, start)  # unsolved images are no warm start
    again.max_evaluations = 4
    again.x[1] = validation.x[1]
    again.tolerance = 1e-6
    assert again.measure(field)[1] == 0.5


def test_validation_takes_the_centre_of_images_of_any_size() -> None:
    images = [*scenes(1, side=20), *scenes(1, side=31, seed=1)]
    validation = make_validation(pose(), images, size=64, seed=0, tolerance=1e-4)
    assert validation.truth.shape == (2, 1, 20, 20)
    assert torch.equal(validation.truth[1], images[1][:, 5:25, 5:25])


def test_bank_measures_every_patch_once() -> None:
    a, b, other = small_bank(), small_bank(), small_bank(seed=1)
    assert torch.equal(a.y, b.y)
    assert not torch.equal(a.y, other.y)
    noise = a.y - a.truth
    assert float(noise.std()) == pytest.approx(0.1, rel=0.15)
    assert math.isclose(float(noise.mean()), 0.0, abs_tol=0.02)
    assert torch.equal(a.x, a.y)  # the starting point of denoising
    assert float(a.q.norm()) == 0.0
