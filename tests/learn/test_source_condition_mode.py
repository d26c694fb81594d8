"""The source condition's loss: dense matrices, finite differences, closed forms."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from deepinv.physics import MRI, LinearPhysics
from learning_problems import SIZE, pose, quick, small_bank, small_field, small_validation, weights
from torch import Tensor, nn

from equipoise.equation import Equation
from equipoise.errors import UsageError
from equipoise.learn import PatchBank, TrainSettings, calibrate, source_condition, train
from equipoise.learn.directions import NOISE, Directions
from equipoise.learn.source_condition import SourceLoss, fix_size, usual_beta
from equipoise.learn.step import accumulate_source_gradient, check_mode
from equipoise.learn.strength import Tuned, tune_alpha
from equipoise.learn.trainer import STRENGTH_AT_LIMIT
from equipoise.linear import ConjugateGradients
from equipoise.problems import Problem, from_physics
from equipoise.regularizers import Scaled, build
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.solve import solve

PIXELS = SIZE * SIZE
#: Enough weight for both parts of the loss to be seen.
BALANCED = {"margin_weight": 0.3, "source_beta": 0.05}


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Dense(LinearPhysics):
    """``y = M x`` with fewer measurements than pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", normal(60, PIXELS, seed=7) / 10)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return x.flatten(1) @ self.matrix.T

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return (y @ self.matrix).view(-1, 1, SIZE, SIZE)


def problem_of(task: str) -> Problem:
    if task == "dense":
        return from_physics(Dense(), (1, SIZE, SIZE), sigma=0.05, dtype=torch.float64)
    return pose(task)


def bank_of(task: str) -> PatchBank:
    return small_bank(problem_of(task), count=4)


def gram(physics: LinearPhysics) -> Tensor:
    """``A^T A`` as a matrix."""
    units = torch.eye(PIXELS, dtype=torch.float64).view(-1, 1, SIZE, SIZE)
    return physics.A_adjoint(physics.A(units)).flatten(1)


def source_of(bank: PatchBank, **changes: Any) -> SourceLoss:
    return SourceLoss(bank.problem, bank.truth[:1], quick(**{**BALANCED, **changes}))


class Linear(Regularizer):
    """``R(x) = M x``."""

    gradient_field = False

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return (x.flatten(1) @ self.matrix.T).view_as(x)


def multiple(factor: float) -> Linear:
    return Linear(factor * torch.eye(PIXELS, dtype=torch.float64))


# ---- value and gradient ------------------------------------------------------------------------


def dense_loss(
    field: Regularizer, bank: PatchBank, x: Tensor, e: Tensor, weight: float, beta: float
) -> Tensor:
    """The formula with matrices: a solve for each image, no code shared with the loss."""
    matrix = gram(bank.physics)
    unit = torch.eye(PIXELS, dtype=torch.float64)
    low = float(torch.linalg.eigvalsh(matrix)[0].clamp_min(0.0))
    low = 0.0 if low < 1e-9 else low
    r, ahead = field.field(x).flatten(1), field.field(x + e).flatten(1)
    solved = torch.linalg.solve(matrix + beta * unit, r.T).T
    source = beta * (r * solved).sum(1) / (PIXELS * beta / (low + beta))
    e = e.flatten(1)
    slope = ((ahead - r) * e).sum(1) / e.square().sum(1)
    return source.mean() + weight * (1.0 - slope).clamp_min(0.0).square().mean()


@pytest.mark.parametrize("task", ["denoise", "inpaint", "deblur", "dense"])
@pytest.mark.parametrize("field", ["untied-conv", "tied-conv"])
def test_gradient_agrees_with_matrices_and_finite_differences(
    task: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = ConjugateGradients(tolerance=1e-13, max_products=500)
    monkeypatch.setattr(source_condition, "SOLVING", exact)
    bank, regularizer = bank_of(task), small_field(field)
    source, rows = source_of(bank), torch.arange(4)
    x, e = source.sample(bank, rows, 3)
    assert (e.flatten(1).norm(dim=1) > 0).all()
    report = accumulate_source_gradient(regularizer, bank, rows, source, 3)
    found = {n: p.grad.clone() for n, p in regularizer.named_parameters() if p.grad is not None}
    assert set(found) == {name for name, _ in regularizer.named_parameters()}
    regularizer.zero_grad()
    value = dense_loss(regularizer, bank, x, e, 0.3, 0.05)
    value.backward()
    # nu rests on a proved bound, which is rounded down by one part in a million.
    assert report.loss == pytest.approx(value.item(), rel=2e-6)
    for name, parameter in regularizer.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-8)
    kept, h, values = weights(regularizer), 1e-4, []
    for factor in (-2, -1, 1, 2):
        moved = {n: kept[n] + factor * h * g / g.norm() for n, g in found.items()}
        regularizer.load_state_dict(moved)
        regularizer.zero_grad()
        values.append(accumulate_source_gradient(regularizer, bank, rows, source, 3).loss)
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    assert sum(float(g.norm()) for g in found.values()) == pytest.approx(slope, rel=1e-6)


def test_a_step_solves_nothing_and_evaluates_the_field_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank, regularizer = bank_of("inpaint"), small_field("untied-conv")
    sizes: list[int] = []
    inner = regularizer.field

    def counted(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return inner(x)

    monkeypatch.setattr(regularizer, "field", counted)
    report = accumulate_source_gradient(
        regularizer, bank, torch.tensor([0, 2, 3]), source_of(bank), 0
    )
    assert sizes == [6]  # images and moved images in one pass
    assert report.forward_evaluations == report.adjoint_products == 0.0
    assert report.usable == 1.0
    assert math.isnan(report.mse)


@pytest.mark.parametrize("task", ["inpaint", "denoise", "deblur"])
def test_the_margin_costs_nothing_where_it_holds(task: str) -> None:
    bank = bank_of(task)
    source = source_of(bank)
    x, e = source.sample(bank, torch.arange(4), 1)
    for factor, missing in ((2.0, 0.0), (1.0, 0.0), (0.25, 0.75)):
        terms = source.terms(multiple(factor), x, e)
        assert terms.slope.tolist() == pytest.approx([factor] * 4, rel=1e-12)
        loss = terms.loss(source.settings.margin_weight, source.settings.margin)
        margin = float((loss - terms.source.mean()).detach())
        assert margin == pytest.approx(0.3 * missing**2, abs=1e-14)


def test_directions_of_no_length_ask_for_nothing() -> None:
    bank = bank_of("inpaint")
    source, x = source_of(bank), bank.truth
    e = torch.zeros_like(x)
    e[0] = 1.0
    terms = source.terms(multiple(0.5), x, e)
    assert terms.slope[1:].tolist() == [math.inf] * 3
    field = multiple(0.5)
    terms = source.terms(field, x, e)
    terms.loss(source.settings.margin_weight, source.settings.margin).backward()
    assert field.matrix.grad is not None
    assert torch.isfinite(field.matrix.grad).all()


def test_both_parts_weigh_the_same_for_denoising_whatever_beta() -> None:
    bank = bank_of("denoise")
    for beta in (1e-3, 1.0, 50.0):
        source = source_of(bank, source_beta=beta)
        x, e = source.sample(bank, torch.arange(4), 0)
        terms = source.terms(multiple(0.7), x, e)
        expected = 0.49 * x.square().flatten(1).mean(1)
        torch.testing.assert_close(terms.source.detach(), expected, rtol=2e-6, atol=0.0)


# ---- directions --------------------------------------------------------------------------------


def directions(task: str, beta: float = 0.05) -> tuple[PatchBank, Directions]:
    bank = bank_of(task)
    return bank, source_of(bank, source_beta=beta).directions


def test_directions_of_a_mask_lie_in_its_kernel_exactly() -> None:
    bank, found = directions("inpaint", beta=2.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        e = found.draw(bank.truth, bank.problem.start(bank.y), generator)
        assert float(bank.physics.A(e).abs().max()) == 0.0
        assert (e.flatten(1).norm(dim=1) > 0).all()


def test_directions_of_undersampled_mri_lie_in_its_kernel() -> None:
    mask = torch.zeros(1, 2, SIZE, SIZE, dtype=torch.float64)
    mask[..., ::2] = 1.0
    problem = from_physics(
        MRI(mask=mask, img_size=(2, SIZE, SIZE)), (2, SIZE, SIZE), sigma=0.1, dtype=torch.float64
    )
    x = normal(3, 2, SIZE, SIZE, seed=1)
    e = SourceLoss(problem, x[:1], quick()).directions.filtered(x)
    assert float(problem.physics.A(e).abs().max()) < 1e-12
    assert float(e.norm()) > 0.5 * float(x.norm())


@pytest.mark.parametrize(("task", "accuracy"), [("deblur", 2e-6), ("dense", 2e-2)])
def test_other_directions_are_filtered(task: str, accuracy: float) -> None:
    bank, found = directions(task)
    v = normal(3, 1, SIZE, SIZE, seed=5)
    matrix = gram(bank.physics)
    filter_ = torch.linalg.inv(matrix + 0.05 * torch.eye(PIXELS, dtype=torch.float64))
    low = float(torch.linalg.eigvalsh(matrix)[0].clamp_min(0.0))
    expected = (v.flatten(1) @ filter_.T) * (low + 0.05)  # a filter of norm one
    error = (found.filtered(v).flatten(1) - expected).norm() / expected.norm()
    assert float(error) < accuracy


def test_denoising_leaves_directions_as_they_are() -> None:
    _, found = directions("denoise", beta=1e-3)
    v = normal(2, 1, SIZE, SIZE, seed=5)
    torch.testing.assert_close(found.filtered(v), v, rtol=2e-6, atol=0.0)


def test_directions_follow_from_the_step_alone() -> None:
    bank, rows = bank_of("inpaint"), torch.arange(4)
    source = source_of(bank)
    first = source.sample(bank, rows, 5)[1]
    source.sample(bank, rows, 6)
    assert torch.equal(source.sample(bank, rows, 5)[1], first)
    assert torch.equal(source_of(bank).sample(bank, rows, 5)[1], first)
    assert not torch.equal(source.sample(bank, rows, 6)[1], first)
    assert not torch.equal(source_of(bank, seed=1).sample(bank, rows, 5)[1], first)


def test_only_masks_move_towards_other_images() -> None:
    # Images that are far apart: without a mask the way to another one would be seen at once.
    far = 100.0 * torch.arange(4, dtype=torch.float64).view(-1, 1, 1, 1)
    largest = {}
    for task in ("denoise", "inpaint"):
        bank, found = directions(task)
        x = bank.truth + far
        generator = torch.Generator().manual_seed(0)
        sizes = [found.draw(x, x + 0.01, generator).abs().max() for _ in range(10)]
        largest[task] = float(torch.stack(sizes).max())
    assert NOISE < largest["denoise"] < 6 * NOISE
    assert largest["inpaint"] > 50


# ---- beta, size, refusals ----------------------------------------------------------------------


def test_beta_follows_the_noise() -> None:
    assert usual_beta(0.1, 1.0) == pytest.approx(4 * usual_beta(0.05, 1.0))
    assert usual_beta(0.1, 1.0) == pytest.approx(0.01)
    assert usual_beta(0.0, 9.0) == pytest.approx(9e-4)
    bank = bank_of("deblur")
    assert source_of(bank, source_beta=None).beta == usual_beta(bank.problem.sigma, 1.0)
    assert source_of(bank, source_beta=0.7).beta == 0.7


def test_the_size_is_the_best_one_and_leaves_the_equation() -> None:
    bank = small_bank(pose("inpaint"))
    source = source_of(bank, margin=2.0)
    field = small_field("untied-conv")
    x, e = source.sample(bank, torch.arange(6), 0)
    before = field.strength

    def value(strength: float) -> float:
        trial = Scaled(field.regularizer, strength, field.scale)
        terms = source.terms(trial, x, e)
        short = 2.0 - terms.slope
        return float((terms.source.mean() + 0.3 * short.square().mean()).detach())

    alpha = fix_size(field, source, bank)
    assert alpha * field.strength == pytest.approx(before)
    best = value(field.strength)
    assert best < value(before)
    for factor in (0.97, 1.03):
        assert best < value(factor * field.strength)


def test_a_field_that_is_nowhere_monotone_keeps_its_size() -> None:
    bank = bank_of("inpaint")
    field = Scaled(multiple(-1.0), strength=0.5)
    assert fix_size(field, source_of(bank), bank) == 1.0
    assert field.strength == pytest.approx(0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin_weight": 0.0},
        {"margin": -1.0},
        {"source_beta": 0.0},
        {"pretrain": "bilevel"},
        {"pretrain_steps": 0},
        {"mode": "source-condition", "pretrain": "source-condition"},
        {"margin_wieght": 1.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        TrainSettings(**wrong)


@pytest.mark.parametrize(
    "settings",
    [quick(mode="source-condition"), quick(mode="equilibrium", pretrain="source-condition")],
)
def test_fields_without_strength_are_refused(settings: TrainSettings) -> None:
    bare = small_field().regularizer
    with pytest.raises(UsageError, match=r"equipoise\.Scaled"):
        check_mode(bare, settings)
    check_mode(small_field(), settings)


# ---- what it learns ----------------------------------------------------------------------------


def test_linear_field_and_mask_give_the_linear_mmse_estimator() -> None:
    # Theory, Prop 8: for any B, minimising E ||P_ker R x||^2 over C of (R x)_k = B x_k + C x_o
    # makes x_k = -B^{-1} C x_o the regression of x_k on x_o.
    problem = pose("inpaint")
    seen = gram(problem.physics).diagonal() > 0.5
    mixing = normal(PIXELS, PIXELS, seed=2)
    x = normal(400, PIXELS, seed=3) @ mixing.T
    x = x - x.mean(0)
    covariance = x.T @ x / len(x)
    regression = torch.linalg.solve(
        covariance[seen][:, seen], covariance[seen][:, ~seen]
    ).T  # Sigma_ko Sigma_oo^{-1}
    count = int((~seen).sum())
    b = torch.eye(count, dtype=torch.float64) + 0.3 * normal(count, count, seed=4) / count**0.5
    matrix = torch.zeros(PIXELS, PIXELS, dtype=torch.float64)
    unseen = (~seen).nonzero().flatten()
    matrix[unseen[:, None], unseen] = b
    matrix[unseen[:, None], seen.nonzero().flatten()] = -b @ regression
    field, images = Linear(matrix), x.view(-1, 1, SIZE, SIZE)
    source = SourceLoss(problem, images[:1], quick(source_beta=0.3))

    def mean_loss() -> Tensor:
        return source.terms(field, images, torch.zeros_like(images)).source.mean()

    # A quadratic function of C, convex: its minimiser is where the derivative by C vanishes.
    least = mean_loss()
    (slope,) = torch.autograd.grad(least, field.matrix)
    assert float(slope[~seen][:, seen].abs().max()) < 1e-12 * float(covariance.abs().max())
    with torch.no_grad():
        field.matrix[unseen[:, None], seen.nonzero().flatten()] += 0.01
    assert float(mean_loss().detach()) > float(least.detach())
    with torch.no_grad():
        field.matrix.copy_(matrix)
    y = problem.physics.A(images[:3])
    solution = solve(Equation(problem.physics, y, field, 0.5), y, tolerance=1e-12)
    assert solution.all_converged
    expected = x[:3][:, seen] @ regression.T
    torch.testing.assert_close(solution.x.flatten(1)[:, ~seen], expected, rtol=1e-8, atol=1e-8)


def contractive() -> Scaled:
    torch.manual_seed(0)
    return Scaled(build("contractive", width=6, depth=2, kernel_size=3).double())


def test_a_strength_at_the_limit_of_its_search_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, validation = small_bank(), small_validation()
    settings = quick(mode="source-condition", steps=4)
    free = train(contractive(), bank, validation, settings)
    assert free.notes == ()

    def limited(*args: Any, **options: Any) -> Tuned:
        return replace(tune_alpha(*args, **options), at_limit=True)

    monkeypatch.setattr(source_condition, "tune_alpha", limited)
    assert train(contractive(), bank, validation, settings).notes == (STRENGTH_AT_LIMIT,)
    # The weights of the first validation stay the best ones, and the note with them.
    patient = quick(mode="source-condition", steps=4, patience=9, learning_rate=3.0)
    path = tmp_path / "run.safetensors"
    found = train(contractive(), bank, validation, patient, checkpoint=path)
    assert (found.best_step, found.notes) == (0, (STRENGTH_AT_LIMIT,))
    monkeypatch.undo()
    again = train(contractive(), bank, validation, patient, checkpoint=path)
    assert (again.best_step, again.notes) == (0, (STRENGTH_AT_LIMIT,))


@pytest.mark.parametrize("task", ["denoise", "deblur"])
def test_training_lowers_the_loss_and_beats_its_start(task: str) -> None:
    problem = pose(task)
    bank, validation, field = small_bank(problem), small_validation(problem), contractive()
    calibrate(field, bank)
    result = train(
        field,
        bank,
        validation,
        quick(mode="source-condition", steps=120, learning_rate=0.02, validate_every=40),
    )
    assert sum(result.log.loss[-20:]) < 0.97 * sum(result.log.loss[:20])
    assert result.log.validation_psnr[-1] > result.log.validation_psnr[0] + 0.2
    assert result.best_step == 120
    assert result.mean("forward") == result.mean("adjoint") == 0.0
    modulus = Equation(bank.physics, bank.y, field).modulus
    assert modulus is not None
    assert modulus.proved
    assert modulus.value > 0
    # The strength that was found is part of the weights that are returned.
    again = small_validation(problem)
    assert again.measure(field)[0] == pytest.approx(result.best_psnr, abs=0.01)
