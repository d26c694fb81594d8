"""Physics, regularisers and fidelities that are changed after an equation was built or solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from deepinv.optim import PoissonLikelihood
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    Downsampling,
    GaussianNoise,
    Inpainting,
    LinearPhysics,
    MultiCoilMRI,
)
from torch import Tensor

from equipoise.certify import certify, physics_constants
from equipoise.differentiate import adjoint_by_name, attach_gradient, unroll
from equipoise.equation import Equation
from equipoise.errors import InputError
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import Residual, Tikhonov
from equipoise.solve import solve
from equipoise.solve.anderson import Anderson
from small_problems import field, kernel, normal, physics

SHAPE = (2, 1, 6, 6)
TIGHT = SolveOptions(tolerance=1e-12, max_evaluations=20_000)


def mask(seed: int, channels: int = 1) -> Tensor:
    return (normal(1, channels, 6, 6, seed=seed) > -0.3).double()


class Nonlocal(LinearPhysics):
    """Functions over plain attributes, held in a list and a dictionary."""

    def __init__(self, weights: Tensor) -> None:
        self.parts = [weights]
        self.options = {"roll": 1}
        super().__init__(A=lambda x, **_: self.forward_one(x), A_adjoint=self.back)
        self.parts, self.options = [weights], {"roll": 1}

    def forward_one(self, x: Tensor) -> Tensor:
        return (self.parts[0] * x).roll(self.options["roll"], -1)

    def back(self, y: Tensor, **_: object) -> Tensor:
        return self.parts[0] * y.roll(-self.options["roll"], -1)


def update_parts(operator: Any, weights: Tensor) -> None:
    operator.parts[0] = weights
    operator.options["roll"] = 2


def cases() -> dict[str, tuple[Callable[[int], LinearPhysics], Callable[[Any, int], object], int]]:
    """Build with a seed; change in place to what another seed builds; channels."""
    blurs = {7: kernel(seed=7), 8: kernel(seed=8)}
    maps = {k: torch.complex(normal(1, 2, 6, 6, seed=k), normal(1, 2, 6, 6, seed=k + 9)) / 2
            for k in (7, 8)}  # fmt: skip
    return {
        "inpainting": (
            lambda k: Inpainting(SHAPE[1:], mask=mask(k)),
            lambda p, k: p.update(mask=mask(k)),
            1,
        ),
        "inpainting-call": (
            lambda k: Inpainting(SHAPE[1:], mask=mask(k), noise_model=GaussianNoise(0.1)),
            lambda p, k: p(normal(*SHAPE), mask=mask(k)),
            1,
        ),
        "blur": (
            lambda k: Blur(filter=blurs[k], padding="valid"),
            lambda p, k: p(normal(*SHAPE), filter=blurs[k]),
            1,
        ),
        "blur-fft": (
            lambda k: BlurFFT(SHAPE[1:], filter=blurs[k]),
            lambda p, k: p.update(filter=blurs[k]),
            1,
        ),
        "downsampling": (
            lambda k: Downsampling(SHAPE[1:], filter=blurs[k], factor=2),
            lambda p, k: p.update(filter=blurs[k]),
            1,
        ),
        "mri": (
            lambda k: MRI(mask=mask(k, 2), img_size=(2, 6, 6)),
            lambda p, k: p.update(mask=mask(k, 2)),
            2,
        ),
        "coils": (
            lambda k: MultiCoilMRI(mask=mask(7, 2), coil_maps=maps[k], img_size=(2, 6, 6)),
            lambda p, k: p.update(coil_maps=maps[k]),
            2,
        ),
        "attribute": (
            lambda k: Nonlocal(mask(k)) if k == 7 else _second(),
            lambda p, k: update_parts(p, mask(k)),
            1,
        ),
    }


def _second() -> LinearPhysics:
    operator = Nonlocal(mask(7))
    update_parts(operator, mask(8))
    return operator


CASES = pytest.mark.parametrize("name", cases())


def model_of(regularizer: str, **options: Any) -> EquilibriumReconstructor:
    alpha = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    return EquilibriumReconstructor(field(regularizer), alpha, options=TIGHT, **options)


# ---- two forward passes, one backward pass -------------------------------------------------------


@pytest.mark.parametrize("regularizer", ["tied-conv", "untied-conv"])
@CASES
def test_two_operators_in_one_object_give_the_gradients_of_two(name: str, regularizer: str) -> None:
    make, change, channels = cases()[name]
    truths = [normal(2, channels, 6, 6, seed=k) for k in (1, 2)]
    apart = [make(7), make(8)]
    ys = [p.A(t).detach() for p, t in zip(apart, truths, strict=True)]
    options: dict[str, Any] = {"adjoint": adjoint_by_name("gmres", tolerance=1e-13)}

    def gradients(shared: bool) -> list[Tensor]:
        model = model_of(regularizer, **options)
        data = [y.clone().requires_grad_() for y in ys]
        both = [make(7)] * 2 if shared else [make(7), make(8)]
        losses = []
        for k, (y, p, t) in enumerate(zip(data, both, truths, strict=True)):
            if shared and k == 1:
                change(p, 8)
            losses.append((model(y, p) - t).square().sum())
        return list(torch.autograd.grad(sum(losses), [*model.parameters(), *data]))

    expected = gradients(shared=False)
    for a, b in zip(gradients(shared=True), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    model = model_of(regularizer, **options)  # and these are right

    def loss() -> float:
        with torch.no_grad():
            found = [model.solve(y, p).x for y, p in zip(ys, apart, strict=True)]
        return float(sum((x - t).square().sum() for x, t in zip(found, truths, strict=True)))

    for k, (weight, gradient) in enumerate(zip(model.parameters(), expected, strict=False)):
        direction = normal(*weight.shape, seed=60 + k)
        values = []
        for step in (-1e-5, 1e-5):
            with torch.no_grad():
                weight.add_(step * direction)
                values.append(loss())
                weight.sub_(step * direction)
        slope = float((gradient * direction).sum())
        assert slope == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-5, abs=1e-7)


@CASES
def test_the_present_operator_is_back_after_the_backward_pass(name: str) -> None:
    make, change, channels = cases()[name]
    operator, model = make(7), model_of("tied-conv")
    y = operator.A(normal(2, channels, 6, 6)).detach()
    x = model(y, operator)
    change(operator, 8)
    before = operator.A(normal(2, channels, 6, 6)).detach()
    x.sum().backward()
    assert torch.equal(operator.A(normal(2, channels, 6, 6)), before)
    assert not torch.allclose(make(7).A(normal(2, channels, 6, 6)), before)


def test_it_is_back_after_a_backward_pass_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, model = Inpainting(SHAPE[1:], mask=mask(7)), model_of("tied-conv")
    x = model(operator.A(normal(*SHAPE)), operator)
    operator.update(mask=mask(8))

    def fail(self: Equation, x: Tensor) -> None:
        assert torch.equal(operator.mask, mask(7))
        raise ZeroDivisionError

    monkeypatch.setattr(Equation, "linearize", fail)
    with pytest.raises(ZeroDivisionError):
        x.sum().backward()
    assert torch.equal(operator.mask, mask(8))


def test_unrolled_gradients_keep_their_operator() -> None:
    def gradient(shared: bool) -> Tensor:
        R = field("tied-conv")
        one = Inpainting(SHAPE[1:], mask=mask(7))
        two = one if shared else Inpainting(SHAPE[1:], mask=mask(8))
        total = torch.zeros((), dtype=torch.float64)
        for k, operator in ((7, one), (8, two)):
            operator.update(mask=mask(k))
            y = operator.A(normal(*SHAPE, seed=k))
            total = total + unroll(Equation(operator, y, R, 0.5), y, 5, 0.2).square().sum()
        return torch.autograd.grad(total, next(R.parameters()))[0]

    assert torch.equal(gradient(True), gradient(False))


def test_a_fidelity_that_is_replaced_is_put_back() -> None:
    def gradient(change: bool) -> Tensor:
        operator, fidelity = physics("circular"), PoissonLikelihood(gain=1.0, bkg=0.3)
        y = operator.A(0.5 + normal(1, 1, 5, 6).abs())
        model = model_of("tied-conv", data_fidelity=fidelity)
        loss = model(y, operator).square().sum()
        if change:
            fidelity.d.gain = 0.2
        loss.backward()
        return model.alpha.grad

    assert torch.equal(gradient(True), gradient(False))


# ---- what cannot be put back ---------------------------------------------------------------------


def change_mask(model: EquilibriumReconstructor, operator: Any, y: Tensor) -> None:
    operator.mask.mul_(0.5)


def change_weight(model: EquilibriumReconstructor, operator: Any, y: Tensor) -> None:
    with torch.no_grad():
        next(model.regularizer.parameters()).mul_(1.1)


def change_alpha(model: EquilibriumReconstructor, operator: Any, y: Tensor) -> None:
    with torch.no_grad():
        model.alpha.mul_(2.0)


def change_measurements(model: EquilibriumReconstructor, operator: Any, y: Tensor) -> None:
    with torch.no_grad():
        y.mul_(2.0)


def change_solution(model: EquilibriumReconstructor, operator: Any, y: Tensor) -> None:
    model.last_solution.x.clamp_(0.0, 0.1)


def load_weights(model: EquilibriumReconstructor, operator: Any, y: Tensor) -> None:
    state = {k: 1.1 * v for k, v in model.regularizer.state_dict().items()}
    model.regularizer.load_state_dict(state)


IN_PLACE = {
    "'mask' of the physics": change_mask,
    "of the regulariser": change_weight,
    "alpha": change_alpha,
    "y was": change_measurements,
    "x was": change_solution,
    "the regulariser": load_weights,
}


@pytest.mark.parametrize("learned", ["all", "y"])
@pytest.mark.parametrize("words", IN_PLACE)
def test_changes_in_place_are_refused_by_the_backward_pass(words: str, learned: str) -> None:
    operator, model = Inpainting(SHAPE[1:], mask=mask(7)), model_of("tied-conv")
    y = operator.A(normal(*SHAPE)).detach()
    if learned == "y":  # no graph of torch holds the parameters
        model.requires_grad_(False)
        y.requires_grad_()
    x = model(y, operator)
    IN_PLACE[words](model, operator, y)
    with pytest.raises(InputError, match=f"{words}.*changed in place.*Run backward"):
        x.sum().backward()


def test_a_replaced_parameter_is_put_back() -> None:
    operator, model = Inpainting(SHAPE[1:], mask=mask(7)), model_of("tied-conv")
    y = operator.A(normal(*SHAPE)).detach().requires_grad_()
    expected = torch.autograd.grad(model(y, operator).square().sum(), y)[0]
    loss = model(y, operator).square().sum()
    module = next(m for m in model.regularizer.modules() if m._parameters)
    name, old = next(iter(module._parameters.items()))
    setattr(module, name, torch.nn.Parameter(2.0 * old.detach()))
    assert torch.equal(torch.autograd.grad(loss, y)[0], expected)
    assert module._parameters[name] is not old


# ---- equations that have grown old ---------------------------------------------------------------

VERBS: dict[str, Callable[[Equation, Tensor], object]] = {
    "solve": lambda e, x: solve(e, x),
    "solve by anderson": lambda e, x: solve(e, x, Anderson()),
    "linearize": lambda e, x: e.linearize(x),
    "preconditioner": lambda e, x: e.preconditioner(x),
    "modulus": lambda e, x: e.modulus,
    "lipschitz": lambda e, x: e.lipschitz,
    "traits": lambda e, x: e.traits,
    "certify": lambda e, x: certify(e, x=x),
    "constants": lambda e, x: physics_constants(e),
    "derivative": lambda e, x: attach_gradient(e, x),
    "unroll": lambda e, x: unroll(e, x, 1, 0.1),
    "other measurements": lambda e, x: e.with_measurements(e.y),
}


CACHED = {"modulus", "lipschitz", "traits"}  # what has been said of an equation stays said


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_an_equation_refuses_once_its_physics_has_changed(
    verb: str, used: bool, in_place: bool
) -> None:
    operator = Inpainting(SHAPE[1:], mask=mask(7))
    equation = Equation(operator, operator.A(normal(*SHAPE)), Tikhonov("gradient"), 0.5)
    x = equation.adjoint_data
    VERBS[verb](equation, x)
    if not used or verb in CACHED:
        equation = Equation(operator, equation.y, Tikhonov("gradient"), 0.5)
    if in_place:
        operator.mask.zero_()
    else:
        operator.update(mask=torch.zeros_like(operator.mask))
    with pytest.raises(InputError, match=r"physics.*Inpainting.*changed.*new Equation"):
        VERBS[verb](equation, x)


@pytest.mark.parametrize("verb", ["solve", "modulus", "certify", "derivative"])
@pytest.mark.parametrize("replace", [False, True])
def test_an_equation_refuses_once_its_regulariser_has_changed(verb: str, replace: bool) -> None:
    operator, R = Inpainting(SHAPE[1:], mask=mask(7)), field("tied-conv")
    equation = Equation(operator, operator.A(normal(*SHAPE)), R, 0.5)
    module = next(m for m in R.modules() if m._parameters)
    name, parameter = next(iter(module._parameters.items()))
    if replace:
        setattr(module, name, torch.nn.Parameter(2.0 * parameter.detach()))
    else:
        with torch.no_grad():
            parameter.mul_(2.0)
    with pytest.raises(InputError, match="new Equation"):
        VERBS[verb](equation, equation.adjoint_data)


def test_a_fidelity_that_has_changed_is_refused() -> None:
    operator, fidelity = physics("circular"), PoissonLikelihood(bkg=0.3)
    y = operator.A(0.5 + normal(1, 1, 5, 6).abs())
    equation = Equation(operator, y, Tikhonov(), 0.5, fidelity)
    fidelity.d.gain = 3.0
    with pytest.raises(InputError, match="data fidelity, were replaced"):
        solve(equation, y)


def test_what_does_not_change_the_operator_is_no_change() -> None:
    operator = Inpainting(SHAPE[1:], mask=mask(7), noise_model=GaussianNoise(0.1))
    equation = Equation(operator, operator.A(normal(*SHAPE)), Tikhonov("gradient"), 0.5)
    operator.update(sigma=torch.tensor(0.3))
    operator.remark = "checked by hand"
    operator.update(mask=mask(7).clone())  # the same in another tensor
    assert solve(equation, equation.adjoint_data).all_converged
    operator.update(mask=mask(8))
    with pytest.raises(InputError, match="was changed"):
        solve(equation, equation.adjoint_data)


class Counting(LinearPhysics):
    """Counts in a number and in a tensor, remembers the latest shape."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("total", torch.zeros((), dtype=torch.int64))
        self.register_buffer("weight", torch.ones(1, 1, 6, 6, dtype=torch.float64))
        self.shapes: list[torch.Size] = []

    def A(self, x: Tensor, **_: object) -> Tensor:
        self.calls += 1
        self.total.add_(1)
        self.shapes.append(x.shape)
        return self.weight * x

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        return self.weight * y


def test_what_an_operator_changes_by_itself_is_no_change() -> None:
    operator, model = Counting(), model_of("tied-conv")
    y = normal(*SHAPE)
    equation = model.equation(y, operator)
    before = operator.calls
    equation.check_unchanged()
    assert operator.calls == before  # seen from outside, without asking
    assert model(y, operator).sum().backward() is None
    loss = model(y, operator).square().sum()
    operator.weight = 2.0 * operator.weight
    calls = operator.calls
    loss.backward()
    assert operator.calls > calls  # the count goes on
    with pytest.raises(InputError, match="was changed"):
        solve(equation, y)


def test_a_network_that_counts_while_it_trains_is_differentiated() -> None:
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Conv2d(1, 1, 3, padding=1))
    R = Residual(torch.nn.Sequential(layer, torch.nn.Tanh()).double().train())
    operator, y = Inpainting(SHAPE[1:], mask=mask(7)), normal(*SHAPE)
    for _ in range(200):  # the vectors of its power iteration settle
        R.field(y)
    model = EquilibriumReconstructor(R, 0.5, options=SolveOptions(tolerance=1e-6))
    losses = [model(y, operator).square().sum() for _ in range(2)]
    sum(losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in R.parameters())


# ---- what is kept must not outlive a change ------------------------------------------------------


def test_constants_do_not_outlive_an_update() -> None:
    operator = Inpainting(SHAPE[1:], mask=mask(7))
    y = operator.A(normal(*SHAPE))
    first = Equation(operator, y, Tikhonov(), 0.5)
    multiplier = first.data.multiplier(y)
    assert first.data.spectrum[1].value == pytest.approx(1.0)
    assert first.data.gram.alike
    same = Equation(operator, y, Tikhonov(), 0.5)
    same.keep(first)
    assert same.data.multiplier(y) is multiplier
    operator.update(mask=3.0 * mask(8))
    second = Equation(operator, y, Tikhonov(), 0.5)
    second.keep(first)
    assert second.data.spectrum[1].value == pytest.approx(9.0)
    assert not torch.allclose(second.data.multiplier(y), multiplier)
