"""Operators that differ from sample to sample, wherever they keep what belongs to a sample."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from deepinv.optim import L2, PoissonLikelihood
from deepinv.physics import (
    DecomposablePhysics,
    Denoising,
    Inpainting,
    LinearPhysics,
)
from torch import Tensor

from equipoise import gram
from equipoise.certify import certify, physics_constants
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.gram import treats_samples_alike
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import Tikhonov
from equipoise.solve import solve
from small_problems import PHYSICS, field, image_shape, measure, normal, physics

SIZE = 16


def masks() -> Tensor:
    """One that keeps everything, one that keeps a third."""
    some = (torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0)) < 0.3).double()
    return torch.stack([torch.ones_like(some), some]).unsqueeze(1)


class ByRow(LinearPhysics):
    """Plain Python: the rows of whatever comes in, one after the other."""

    def __init__(self, held: Tensor) -> None:
        super().__init__()
        self.held = list(held)

    def A(self, v: Tensor, **kwargs: object) -> Tensor:
        return torch.stack([self.held[i] * v[i] for i in range(len(v))])

    def A_adjoint(self, v: Tensor, **kwargs: object) -> Tensor:
        return self.A(v)


class Attribute(LinearPhysics):
    """One plain attribute of shape (B, ...)."""

    def __init__(self, held: Tensor) -> None:
        super().__init__()
        self.held = held

    def A(self, v: Tensor, **kwargs: object) -> Tensor:
        return self.held * v

    def A_adjoint(self, v: Tensor, **kwargs: object) -> Tensor:
        return self.held * v


class Posing(DecomposablePhysics):
    """Declares to be the identity, and is so in the first sample."""

    def __init__(self, held: Tensor) -> None:
        super().__init__()
        self.inner = ByRow(held)

    def A(self, v: Tensor, **kwargs: object) -> Tensor:
        return self.inner.A(v)

    def A_adjoint(self, v: Tensor, **kwargs: object) -> Tensor:
        return self.inner.A(v)


def closure(held: Tensor) -> LinearPhysics:
    return LinearPhysics(A=lambda v, **_: held * v, A_adjoint=lambda v, **_: held * v)


def closure_by_row(held: Tensor) -> LinearPhysics:
    def apply(v: Tensor, **_: object) -> Tensor:
        return torch.stack([held[i] * v[i] for i in range(len(v))])

    return LinearPhysics(A=apply, A_adjoint=apply)


def buffer(held: Tensor) -> LinearPhysics:
    return Inpainting((1, SIZE, SIZE), mask=held)


KINDS = pytest.mark.parametrize(
    "make", [ByRow, Attribute, Posing, closure, closure_by_row, buffer], ids=lambda f: f.__name__
)
Make = Callable[[Tensor], LinearPhysics]


def alone(k: int) -> LinearPhysics:
    return Inpainting((1, SIZE, SIZE), mask=masks()[k])


# ---- solving -------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("regularizer", ["contractive", "tied-conv"])
def test_every_sample_is_solved_with_its_own_operator(make: Make, regularizer: str) -> None:
    # The first sample starts where it ends; taken out of the batch, it would leave its mask behind.
    options = SolveOptions(tolerance=1e-9, max_evaluations=5000)
    model = EquilibriumReconstructor(field(regularizer), 0.05, options=options)
    operator = make(masks())
    y = operator.A(normal(2, 1, SIZE, SIZE, seed=1))
    exact = torch.cat([model.solve(y[k : k + 1], alone(k)).x for k in range(2)])
    start = torch.cat([exact[:1], torch.zeros_like(exact[:1])])
    found = model.solve(y, operator, start)
    assert found.all_converged, found.summary()
    assert int(found.evaluations[0]) == 1 < int(found.evaluations[1])
    distance = (found.x - exact).flatten(1).norm(dim=1)
    if regularizer == "contractive":  # both solutions have an error of their own
        assert (distance <= 2 * found.error_bound + 1e-12).all()
    torch.testing.assert_close(found.x, exact, rtol=0, atol=1e-6)


@KINDS
def test_a_batch_of_such_operators_is_never_cut(make: Make) -> None:
    equation = Equation(make(masks()), normal(2, 1, SIZE, SIZE), Tikhonov())
    assert not equation.data.gram.alike
    assert equation.select(torch.tensor([1])) is None


@pytest.mark.parametrize("name", PHYSICS)
def test_operators_for_all_samples_are_cut(name: str) -> None:
    operator = physics(name)
    for batch in (1, 2, 5):
        equation = Equation(operator, measure(operator, (batch, *image_shape(name))), Tikhonov())
        assert equation.data.gram.alike


def test_one_pixel_of_a_large_mask_is_seen() -> None:
    held = torch.ones(3, 1, 512, 512)
    like = torch.zeros_like(held)
    assert treats_samples_alike(ByRow(held.clone()), like, like)
    held[2, 0, 100, 7] = 0.0
    assert not treats_samples_alike(ByRow(held), like, like)


def test_operators_that_mix_the_samples_are_not_cut() -> None:
    centre = LinearPhysics(A=lambda v, **_: v - v.mean(0), A_adjoint=lambda v, **_: v - v.mean(0))
    like = torch.zeros(3, 1, 4, 4)
    assert not treats_samples_alike(centre, like, like)


def test_operators_that_count_on_the_number_of_samples_are_not_cut() -> None:
    def apply(v: Tensor, **_: object) -> Tensor:
        return v if len(v) > 1 else 2.0 * v

    like = torch.zeros(3, 1, 4, 4)
    assert not treats_samples_alike(LinearPhysics(A=apply, A_adjoint=apply), like, like)
    assert not treats_samples_alike(LinearPhysics(A=apply, A_adjoint=apply), like[:1], like[:1])


# ---- what one sample used to tell for all --------------------------------------------------------


@KINDS
def test_bounds_hold_for_every_sample(make: Make) -> None:
    y = normal(2, 1, SIZE, SIZE)
    for fidelity in (None, L2(sigma=0.5)):
        equation = Equation(make(masks()), y, Tikhonov(), 0.1, fidelity)
        weight = 1.0 if fidelity is None else 4.0
        low, high = equation.data.spectrum  # the second operator has a kernel
        assert low.value == 0.0
        assert low.proved
        assert high.value >= 0.99 * weight
        assert equation.modulus.value == pytest.approx(0.1)


@pytest.mark.parametrize("make", [ByRow, Posing, closure_by_row, buffer])
def test_resolvent_and_calculus_are_those_of_every_sample(make: Make) -> None:
    equation = Equation(make(masks()), normal(2, 1, SIZE, SIZE), Tikhonov(), 0.1)
    found = equation.resolvent()
    assert (found is not None) is (make is buffer)
    if found is not None:
        inverse, c = found
        v = normal(2, 1, SIZE, SIZE, seed=3)
        torch.testing.assert_close(inverse(v), v / (masks() + c))
    assert physics_constants(equation).least.below.value == 0.0


def test_preconditioner_of_every_sample() -> None:
    held = torch.stack([torch.ones(1, SIZE, SIZE), 3.0 * torch.ones(1, SIZE, SIZE)]).double()
    y, x = normal(2, 1, SIZE, SIZE), normal(2, 1, SIZE, SIZE, seed=2)
    whole = Equation(ByRow(held), y, field("tied-conv"), 0.1).data.multiplier(x)
    assert len(whole) == 2
    assert float(whole[0].mean()) == pytest.approx(1.0)
    assert float(whole[1].mean()) == pytest.approx(9.0)


@pytest.mark.parametrize("make", [ByRow, buffer])
def test_constants_of_operators_of_different_rank(make: Make) -> None:
    held = masks()
    held[0] = 2.0 * held[1].roll(1, -1)
    held[0, 0, 0, :5] = 0.0
    held[0, 0, 0, 5] = 2.0
    found = physics_constants(Equation(make(held), normal(2, 1, SIZE, SIZE), Tikhonov()))
    ranks = [SIZE * SIZE - int((mask != 0).sum()) for mask in held]
    for k in range(2):
        top, kernel_size = float(held[k].max()), ranks[k]
        for bracket, exact in (
            (found.norm, top),
            (found.least, 0.0),
            (found.kernel, float(kernel_size)),
        ):
            for bound, side in ((bracket.below, 1), (bracket.above, -1)):
                if bound is not None and bound.proved:
                    assert side * bound.value <= side * exact + 1e-9
    if make is buffer:
        assert found.kernel.below.value == min(ranks)
        assert found.kernel.above.value == max(ranks)


# ---- what is kept from equation to equation ------------------------------------------------------


def test_the_question_is_asked_late_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def watch(operator: LinearPhysics, image: Tensor, y: Tensor) -> bool:
        asked.append(len(y))
        return treats_samples_alike(operator, image, y)

    monkeypatch.setattr(gram, "treats_samples_alike", watch)
    operator = physics("mixing")
    y = measure(operator, (4, *image_shape("mixing")))
    equation = Equation(operator, y, Tikhonov(), 0.1)
    equation.residual(equation.adjoint_data)
    assert asked == []
    assert equation.select(torch.tensor([0, 2])).select(torch.tensor([1])) is not None
    assert asked == [4]
    for rows in (slice(0, 4), slice(1, 4), slice(3, 4)):
        other = equation.with_measurements(y[rows])
        assert other.select(torch.tensor([0])) is not None
        assert other.data.spectrum == equation.data.spectrum
    assert asked == [4]
    larger = equation.with_measurements(torch.cat([y, y]))
    assert larger.data.gram.alike
    assert asked == [4, 8]  # more rows than anyone has tried


def test_answers_are_not_kept_for_another_number_of_operators() -> None:
    held = torch.ones(3, 1, 4, 4, dtype=torch.float64)
    held[2] = 2.0
    operator, y = ByRow(held), normal(3, 1, 4, 4)
    two = Equation(operator, y[:2], Tikhonov("gradient"), 0.1)
    assert two.data.gram.alike  # as far as two rows go
    assert two.data.spectrum[1].value == pytest.approx(1.0)
    assert len(two.data.multiplier(y[:2])) == 1
    three = two.with_measurements(y)
    assert not three.data.gram.alike
    assert three.select(torch.tensor([2])) is None
    assert three.data.spectrum[1].value == pytest.approx(4.0)
    multiplier = three.data.multiplier(y)
    assert len(multiplier) == 3
    assert float(multiplier[2].mean()) == pytest.approx(4.0)


def test_a_likelihood_hands_on_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = physics("circular")
    y = operator.A(0.5 + torch.rand(3, 1, 5, 6, dtype=torch.float64))
    first = Equation(operator, y, Tikhonov(), 0.1, PoissonLikelihood(bkg=0.1))
    assert first.data.gram.alike
    monkeypatch.setattr(gram, "treats_samples_alike", lambda *_: pytest.fail("asked again"))
    assert first.with_measurements(y[:2]).select(torch.tensor([0])) is not None


# ---- measurements --------------------------------------------------------------------------------


def test_measurements_are_checked_with_all_samples() -> None:
    operator = ByRow(masks())
    with pytest.raises(InputError, match="does not accept measurements"):
        Equation(operator, normal(3, 1, SIZE, SIZE), Tikhonov())
    assert Equation(operator, normal(2, 1, SIZE, SIZE), Tikhonov()).image_shape[0] == 2


def test_images_left_on_another_device() -> None:
    stray = LinearPhysics(A=lambda v, **_: v, A_adjoint=lambda v, **_: v.to("meta"))
    with pytest.raises(InputError, match=r"images on meta, but y is on cpu.*plain attributes"):
        Equation(stray, normal(1, 1, 4, 4), Tikhonov())


# ---- one sigma per sample ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1, 1)])
@pytest.mark.parametrize("name", ["inpaint", "mixing"])
def test_one_noise_level_per_sample(name: str, shape: tuple[int, ...]) -> None:
    operator = physics(name)
    y = measure(operator, (3, *image_shape(name)))
    sigma = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    whole = Equation(operator, y, field("tied-conv"), 0.3, L2(sigma=sigma.reshape(shape)))
    x, v = normal(*whole.image_shape, seed=2), normal(*whole.image_shape, seed=3)
    near, solution = whole.linearize(x), solve(whole, whole.adjoint_data, tolerance=1e-9)
    keep = torch.tensor([2, 0])
    part = whole.select(keep)
    torch.testing.assert_close(part.residual(x[keep]), whole.residual(x)[keep])
    torch.testing.assert_close(part.data.multiplier(x[keep])[1:], whole.data.multiplier(x)[:1])
    assert whole.resolvent() is None
    for k in range(3):
        some = slice(k, k + 1)
        one = Equation(operator, y[some], whole.regularizer, 0.3, L2(sigma=float(sigma[k])))
        torch.testing.assert_close(one.residual(x[some]), whole.residual(x)[some])
        energy, slope = (t[some] for t in whole.potential_and_residual(x))
        torch.testing.assert_close(one.potential_and_residual(x[some]), (energy, slope))
        torch.testing.assert_close(one.linearize(x[some]).jvp(v[some]), near.jvp(v)[some])
        alone = solve(one, one.adjoint_data, tolerance=1e-9).x
        torch.testing.assert_close(solution.x[some], alone, rtol=0, atol=1e-6)
        assert whole.modulus.value <= one.modulus.value + 1e-12
        assert whole.lipschitz.value >= one.lipschitz.value - 1e-12
    with pytest.raises(HypothesisError, match="one sigma"):
        certify(whole)


def test_a_noise_level_may_be_a_tensor_and_learned() -> None:
    operator = physics("inpaint")
    y = measure(operator, (2, *image_shape("inpaint")))
    plain = Equation(operator, y, Tikhonov("gradient"), 0.3, L2(sigma=0.5))
    sigma = torch.tensor(0.5, dtype=torch.float64)
    held = Equation(operator, y, Tikhonov("gradient"), 0.3, L2(sigma=sigma))
    assert held.modulus == plain.modulus
    third = Equation(operator, y, Tikhonov("gradient"), 0.3, L2(sigma=1 / 3))
    assert third.data.weight == pytest.approx(9.0, rel=1e-15)
    ratio = third.data.spectrum[1].value / plain.data.spectrum[1].value
    assert ratio == pytest.approx(9.0 / 4.0, rel=1e-15)
    torch.testing.assert_close(held.residual(y), plain.residual(y))

    def loss(level: Tensor) -> Tensor:
        model = EquilibriumReconstructor(
            Tikhonov("gradient"),
            0.3,
            data_fidelity=L2(sigma=level),
            options=SolveOptions(tolerance=1e-12, max_evaluations=5000),
        )
        return model(y, operator).square().sum()

    (found,) = torch.autograd.grad(loss(sigma.requires_grad_()), sigma)
    values = [float(loss(torch.tensor(0.5 + h, dtype=torch.float64))) for h in (-1e-5, 1e-5)]
    assert float(found) == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("sigma", "words"),
    [
        (torch.ones(3), "one for each of 2 samples"),
        (torch.ones(2, 1, 4, 4), "divide A"),
        (torch.tensor(torch.inf), "positive and finite"),
        (torch.tensor([1.0, torch.nan]), "positive and finite"),
    ],
)
def test_noise_levels_that_are_none(sigma: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Equation(Denoising(), normal(2, 1, 4, 4), Tikhonov(), 0.1, L2(sigma=sigma))
