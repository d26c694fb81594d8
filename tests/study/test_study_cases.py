"""Operators, regularisers and truths of studies; names and settings that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from equipoise.errors import InputError, UsageError
from equipoise.problems.tomography import tomography
from equipoise.regularizers import build, save_regularizer
from equipoise.settings.task import Task
from equipoise.status import Status
from equipoise.study.cases import Case, cases
from equipoise.study.closed_form import closed_form_difference, tikhonov_equilibrium
from equipoise.study.matrix import MatrixPhysics
from equipoise.study.regularizers import regularizer_by_name
from equipoise.study.settings import PHYSICS, REGULARIZERS, StudySettings
from equipoise.study.solving import solve_case
from equipoise.study.truths import draw_noise, source_truth
from equipoise.testing import check_adjoint, check_regularizer
from equipoise.vectors import norm


def small(
    *physics: str, regularizers: tuple[str, ...] = ("tikhonov",), **more: object
) -> list[Case]:
    settings = StudySettings(physics=physics, regularizers=regularizers, size=16, **more)
    return cases(settings, (), ())


def dense(case: Case) -> torch.Tensor:
    n = case.images[0].numel()
    unit = torch.eye(n, dtype=torch.float64).reshape(n, *case.images.shape[1:])
    return case.physics.A(unit).flatten(1).T


@pytest.mark.parametrize("name", PHYSICS)
def test_operators_are_linear_adjoint_float64_and_of_norm_at_most_one(name: str) -> None:
    (case,) = small(name)
    check_adjoint(case.physics, tuple(case.images.shape[1:]), dtype=torch.float64)
    top = torch.linalg.matrix_norm(dense(case), ord=2)
    assert float(top) == pytest.approx(1.0, abs=1e-9)


def test_matrix_physics_is_the_physics_it_was_made_of() -> None:
    problem = tomography((1, 12, 12), "5:0-120", sigma=0.0, dtype=torch.float64)
    matrix = MatrixPhysics(problem.physics, (12, 12), torch.float64)
    x = torch.rand(3, 1, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = problem.physics.A(x)
    assert torch.allclose(matrix.A(x), y, atol=1e-13)
    assert torch.allclose(matrix.A_adjoint(y), problem.physics.A_adjoint(y), atol=1e-13)
    assert torch.allclose(matrix.U(matrix.mask * matrix.V_adjoint(x)), y, atol=1e-12)
    assert torch.allclose(
        matrix.V(matrix.mask * matrix.U_adjoint(y)), matrix.A_adjoint(y), atol=1e-12
    )
    assert torch.allclose(matrix.V(matrix.V_adjoint(x)), x, atol=1e-12)


def test_spectra_are_what_the_study_says_of_them() -> None:
    mask, blur, sparse = (torch.linalg.svdvals(dense(small(n)[0])) for n in PHYSICS[:3])
    assert set(mask.round(decimals=12).tolist()) == {0.0, 1.0}
    assert float(blur.min()) > 1e-12
    assert float(blur.min()) < 1e-4
    assert len(sparse) < 16 * 16  # fewer rays than pixels: a kernel


def test_the_counter_example_fulfils_the_contract_of_regularisers() -> None:
    check_regularizer(small("inpaint", regularizers=("network",))[0].regularizer)


@pytest.mark.parametrize("name", ["contractive", "network"])
def test_built_in_networks_follow_the_seed(name: str) -> None:
    (case,) = small("inpaint", regularizers=(name,))
    again = small("inpaint", regularizers=(name,))[0].regularizer
    other = small("inpaint", regularizers=(name,), seed=1)[0].regularizer
    x = case.images
    assert torch.allclose(case.regularizer.field(x), again.field(x), atol=1e-14)
    field = case.regularizer.field(x)
    assert bool((norm(field - other.field(x)) > 1e-2 * norm(field)).all())


def test_the_counter_example_is_not_monotone_and_the_others_are() -> None:
    found = small("inpaint", regularizers=REGULARIZERS)
    assert [c.regularizer.traits().monotone for c in found] == [True, True, True, False]
    network = found[-1].regularizer
    x = torch.zeros_like(found[0].images[:1])
    jacobian = torch.autograd.functional.jacobian(lambda v: network.field(v), x)
    square = jacobian.reshape(256, 256)
    assert float(torch.linalg.eigvalsh(0.5 * (square + square.T)).min()) < -0.5


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("alpha", [1.0, 1e-2, 1e-4])
def test_tikhonov_solves_match_the_closed_form_and_a_dense_solve(name: str, alpha: float) -> None:
    (case,) = small(name)
    settings = StudySettings()
    y = case.physics.A(case.images)
    y = y + draw_noise(case, y, 0.1 * norm(y), torch.Generator().manual_seed(0))
    found = solve_case(case, y, alpha, settings)
    assert found.all_converged
    off = closed_form_difference(case.physics, case.regularizer, y, alpha, found.x)
    assert off is not None
    assert float(off.max()) < 1e-10
    a = dense(case)
    system = a.T @ a + alpha * torch.eye(a.shape[1], dtype=torch.float64)
    exact = torch.linalg.solve(system, a.T @ y.flatten(1).T).T
    assert torch.allclose(found.x.flatten(1), exact, rtol=1e-10, atol=1e-10)


def test_closed_form_is_for_tikhonov_and_decomposable_physics_alone() -> None:
    (case,) = small("inpaint", regularizers=("contractive",))
    y = case.physics.A(case.images)
    assert closed_form_difference(case.physics, case.regularizer, y, 0.1, case.images) is None
    rays = tomography((1, 16, 16), "5", sigma=0.0, dtype=torch.float64).physics
    assert tikhonov_equilibrium(rays, rays.A(case.images), 0.1) is None


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_truths_satisfy_the_source_condition(name: str, regularizer: str) -> None:
    (case,) = small(name, regularizers=(regularizer,))
    truth = source_truth(case, StudySettings(size=16))
    if regularizer != "network":  # the counter-example may have no equilibrium, and says so
        assert set(truth.status) == {Status.CONVERGED}
    good = torch.tensor([s is Status.CONVERGED for s in truth.status])
    rho = case.regularizer.field(truth.x) - case.physics.A_adjoint(truth.element.w)
    assert torch.allclose(rho, truth.element.residual)
    size = norm(case.regularizer.field(truth.x))
    assert bool((norm(rho) <= 1e-4 * size)[good].all())
    assert torch.equal(truth.y, case.physics.A(truth.x))
    twice = truth.repeated(2)
    assert torch.equal(twice.element.w[1], truth.element.w[0])


def test_noise_has_exactly_the_norm_and_stays_where_the_mask_looks() -> None:
    (case,) = small("inpaint")
    y = case.physics.A(case.images)
    size = torch.tensor([0.5, 2.0], dtype=torch.float64)
    noise = draw_noise(case, y, size, torch.Generator().manual_seed(0))
    assert torch.allclose(norm(noise), size)
    assert torch.equal(case.physics.A(noise), noise)
    (blur,) = small("blur")
    free = draw_noise(blur, y, size, torch.Generator().manual_seed(0))
    assert int((free == 0).sum()) == 0


def test_user_operator_and_weights(tmp_path: Path) -> None:
    module = tmp_path / "scanner_of_a_user.py"
    module.write_text(
        "from deepinv.physics import Denoising\n\ndef identity(shape):\n    return Denoising()\n"
    )
    file = tmp_path / "w.safetensors"
    save_regularizer(file, build("contractive", width=2, depth=1, kernel_size=3), {})
    found = small(f"{module}:identity", regularizers=("weights",), weights=str(file))
    assert "identity" in found[0].description
    assert found[0].regularizer.field(found[0].images).dtype == torch.float64
    settings = StudySettings(weights=str(file), size=16, task=Task(name="inpaint"))
    (own,) = cases(settings, ("blur",), ("crr",))
    assert (own.physics_name, own.regularizer_name) == ("own", "weights")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"physics": ("bluur",)}, "blur"),
        ({"physics": ("own",)}, "task"),
        ({"regularizers": ("contractiv",)}, "contractive"),
        ({"regularizers": ("weights",)}, "--weights"),
        ({"noise_levels": (0.1, 2.0)}, "between 0 and 1"),
        ({"noise_levels": ()}, "Noise levels"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, object], words: str) -> None:
    with pytest.raises((UsageError, ValidationError), match=words):
        StudySettings(**wrong)


def test_images_must_be_large_enough() -> None:
    with pytest.raises(InputError, match="smaller than the study's 300"):
        cases(StudySettings(size=300), ("inpaint",), ("tikhonov",))


def test_trained_weights_that_ship_can_be_studied() -> None:
    settings = StudySettings(regularizers=("wcrr-gray",))
    field, words = regularizer_by_name("wcrr-gray", settings)
    assert next(field.parameters()).dtype == torch.float64
    assert "wcrr-gray" in words
    with pytest.raises(ValidationError, match="wcrr-gray"):
        StudySettings(regularizers=("wcrr-grey",))
