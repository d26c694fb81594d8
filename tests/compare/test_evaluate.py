"""Scores of restored test photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenery import scene

from equipoise.compare.evaluate import TestImage as Photograph
from equipoise.compare.evaluate import evaluate, measure_tests, picture
from equipoise.problems import denoise, inpaint
from equipoise.regularizers import build


def photographs(count: int = 2, seed: int = 0, task: str = "denoise") -> list[Photograph]:
    shape = (1, 24, 24)
    options = {"sigma": 0.1, "dtype": torch.float64}
    problem = inpaint(shape, 0.6, **options) if task == "inpaint" else denoise(shape, **options)
    images = {f"scene{k}": scene(24, k) for k in range(count)}
    return measure_tests(problem, images, seed)[0]


def test_every_photograph_has_noise_of_its_own_fixed_by_the_seed() -> None:
    a, b, other = photographs(), photographs(), photographs(seed=1)
    noise = [test.y - test.truth for test in a]
    assert torch.equal(a[1].y, b[1].y)
    assert not torch.equal(a[1].y, other[1].y)
    assert abs(float((noise[0] * noise[1]).mean())) < 0.002
    # The first photograph's noise does not depend on what else is tested.
    assert torch.equal(photographs(count=1)[0].y, a[0].y)


def test_scores_are_those_of_the_exact_solution() -> None:
    # Tikhonov with the identity: x = y / (1 + alpha).
    tests = photographs()
    found = evaluate(build("tikhonov"), 0.25, tests, tolerance=1e-9, max_evaluations=200)
    assert [score.name for score in found.scores] == ["scene0", "scene1"]
    for test, score in zip(tests, found.scores, strict=True):
        x = test.y / 1.25
        error = float((x - test.truth).square().mean())
        assert score.psnr == pytest.approx(-10 * np.log10(error), abs=1e-5)
        noise = float((test.y - test.truth).square().mean())
        assert score.psnr_input == pytest.approx(-10 * np.log10(noise))
        assert score.status == "CONVERGED"
        assert score.residual <= 1e-9
        assert score.error_bound is not None
        assert 0.0 <= score.error_bound < 1e-6
        np.testing.assert_allclose(found.reconstructions[test.name], x[0, 0].numpy(), atol=1e-7)
    assert found.defect == (0.0, 0.0)
    assert "one equilibrium" in found.certificate.sentence
    certified = found.statements
    modulus, lipschitz, distance, error = (
        certified.find(name)
        for name in (
            "strong_monotonicity",
            "lipschitz_upper",
            "distance_upper",
            "error_upper_bound",
        )
    )
    assert modulus is not None
    assert modulus.value == pytest.approx(1.25, rel=1e-5)
    assert lipschitz is not None
    assert lipschitz.value == pytest.approx(1.0, rel=1e-5)
    assert distance is not None
    assert distance.value is not None
    assert 0.0 <= distance.value < 1e-6
    first = found.scores[0]
    assert error is not None
    assert error.value is not None
    assert error.value >= np.sqrt(24 * 24) * 10 ** (-first.psnr / 20)
    counts = [score.evaluations for score in found.scores]
    assert found.evaluations == pytest.approx(sum(counts) / 2)
    assert found.trace[0][-1] == counts[0]
    assert found.trace[1][-1] == pytest.approx(found.scores[0].residual)
    assert (np.diff(found.trace[1]) <= 0).all()
    assert found.seconds > 0


def test_unsolved_photographs_say_so() -> None:
    found = evaluate(build("tv"), 0.1, photographs(), tolerance=1e-9, max_evaluations=3)
    assert {score.status for score in found.scores} == {"ITERATION_LIMIT"}
    assert all(score.residual > 1e-9 for score in found.scores)
    assert all(score.psnr > score.psnr_input for score in found.scores)  # something is scored


def test_fields_without_potential_have_a_defect_and_no_bound_where_data_are_missing() -> None:
    untied = build("untied-conv", filters=3, kernel_size=3).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in untied.difference.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(20 * noise)
    tests = photographs(task="inpaint")
    found = evaluate(untied, 0.01, tests, tolerance=1e-6, max_evaluations=500)
    assert found.defect[0] > 3 * found.defect[1] > 0
    assert found.scores[0].error_bound is None
    assert found.certificate.kind is None
    assert found.scores[0].psnr_input < 12  # missing pixels are black in the input


def test_float64_copies_hold_the_same_measurement() -> None:
    problem = denoise((1, 24, 24), sigma=0.1)
    (single,), _ = measure_tests(problem, {"a": scene(24, 0).float()}, 0)
    double = single.double()
    assert double.y.dtype is double.truth.dtype is torch.float64
    assert torch.equal(double.y, single.y.double())
    assert double.problem.dtype is torch.float64


def test_pictures_are_gray_or_colour() -> None:
    gray = torch.rand(1, 1, 4, 5, requires_grad=True)
    assert picture(gray).shape == (4, 5)
    colour = torch.rand(1, 3, 4, 5)
    array = picture(colour)
    assert array.shape == (4, 5, 3)
    np.testing.assert_array_equal(array[2, 3], colour[0, :, 2, 3].double().numpy())
