"""The contract: every catalogue name keeps it, users' own ones can, and wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from deepinv.physics import Denoising
from torch import Tensor, nn

from equipoise.bounds import Bound, estimated, proved
from equipoise.equation import Equation
from equipoise.errors import NoPotentialError, UsageError
from equipoise.regularizers import (
    NAMES,
    Linearization,
    Regularizer,
    Residual,
    Tikhonov,
    Traits,
    build,
)
from equipoise.regularizers.base import Constants
from equipoise.regularizers.linearization import autograd_linearization
from equipoise.status import Solution, Status
from equipoise.testing import (
    check_batch,
    check_channels,
    check_constants,
    check_far_away,
    check_inputs,
    check_jacobian,
    check_parameter_gradient,
    check_potential,
    check_prox,
    check_regularizer,
    check_saving,
    check_second_derivatives,
    check_shapes,
    check_traits,
)
from equipoise.vectors import dot

SHAPE = (2, 1, 5, 6)

#: Small versions of all names, so that the whole contract is quick.
SMALL: dict[str, dict[str, Any]] = {
    "contractive": {"width": 4, "depth": 2, "kernel_size": 3},
    "crr": {"filters": (2, 4), "kernel_size": 3},
    "fields-of-experts": {"filters": 4, "kernel_size": 3},
    "ridge": {"filters": (3,), "kernel_size": 3, "weak_convexity": 0.5, "channels": 2},
    "scaled": {"inner": {"name": "wcrr", "filters": (2, 4), "kernel_size": 3}, "scale": 3.0},
    "tied-conv": {"filters": 4, "kernel_size": 3},
    "tied-dense": {"image_shape": [1, 4, 5], "features": 6},
    "tikhonov": {"operator": "gradient"},
    "tv": {"epsilon": 0.1},
    "untied-conv": {"filters": 4, "kernel_size": 3},
    "untied-dense": {"image_shape": [1, 4, 5], "features": 6},
    "wcrr": {"filters": (2, 4), "kernel_size": 3},
}


def perturbed(regularizer: Regularizer, size: float) -> Regularizer:
    """Move all parameters, so that nothing holds only at their initial values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in regularizer.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return regularizer


@pytest.mark.parametrize("name", NAMES)
def test_catalogue_keeps_the_contract(name: str) -> None:
    torch.manual_seed(0)
    check_regularizer(perturbed(build(name, **SMALL[name]), 0.2))


@pytest.mark.parametrize("name", ["contractive", "tied-conv", "untied-conv", "crr"])
def test_colour_versions_keep_the_contract(name: str) -> None:
    torch.manual_seed(0)
    check_regularizer(perturbed(build(name, **SMALL[name], channels=3), 0.2), (2, 3, 5, 6))


def test_networks_of_users_keep_the_contract() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))
    check_regularizer(Residual(network, channels=1))
    normalised = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))
    check_regularizer(Residual(normalised.eval()))


class LogCosh(Regularizer):
    """A user's own regulariser: ``r(x) = a sum log cosh x``, products by autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.5))

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.a * torch.tanh(x)

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return self.a * (x.abs() + nn.functional.softplus(-2.0 * x.abs())).flatten(1).sum(1)

    def modulus(self) -> Bound:
        return proved(0.0)

    def lipschitz(self) -> Bound:
        return proved(float(self.a.detach()))


def test_classes_of_users_keep_the_contract() -> None:
    check_regularizer(LogCosh(), (2, 2, 4, 5))


# ---- one broken clause each ----------------------------------------------------------------------


class HighModulus(LogCosh):
    def modulus(self) -> Bound:
        return proved(0.01)


class FarTooHighModulus(LogCosh):
    """The error bounds of solves would be a thousand times too small."""

    def modulus(self) -> Bound:
        return proved(50.0)


class LowLipschitz(LogCosh):
    def lipschitz(self) -> Bound:
        return proved(1.49)


class LowLipschitzOfConvolution(Regularizer):
    """Declares a number that only images of more than a few pixels exceed."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build("tikhonov", operator="gradient")

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.inner.field(x)

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return self.inner.potential(x)

    def lipschitz(self) -> Bound:
        return proved(7.8)


class FalseBounded(LogCosh):
    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._field(x, constants) + 1e-3 * x

    def bounded(self) -> bool:
        return True


class FalseAttaining(LogCosh):
    """Linear far away on the one side, and falling."""

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._potential(x, constants) - 2.0 * x.flatten(1).sum(1)

    def attaining(self) -> bool:
        return True


class AttainingWithoutPotential(Residual):
    def __init__(self) -> None:
        super().__init__(lambda x: 0.5 * x.roll(1, -1))

    def attaining(self) -> bool:
        return True


class FalseDisc(Residual):
    """``x + rotation``: L and mu are right, but the disc is larger."""

    channels = 1
    contractive_residual = True

    def __init__(self) -> None:
        super().__init__(lambda x: -0.5 * x.flip(-1) * torch.tensor([1.0, -1.0]).double())

    def modulus(self) -> Bound:
        return proved(1.0)

    def lipschitz(self) -> Bound:
        return proved(1.2)


class FalseGradient(LogCosh):
    """Mixes each pixel with one neighbour only; its products are right, its claim is not."""

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.a * torch.tanh(x + x.roll(1, -1))

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        return autograd_linearization(lambda z: self._field(z, constants), x, symmetric=False)


class OtherPotential(LogCosh):
    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return 1.01 * super()._potential(x, constants)


class OtherTogether(LogCosh):
    def _potential_and_field(self, x: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
        value, field = super()._potential_and_field(x, constants)
        return value, 1.01 * field


class BatchPotential(LogCosh):
    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._potential(x, constants).sum()


class MixedSamples(LogCosh):
    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._field(x, constants) - 0.01 * x.mean(0)


class WrongProducts(LogCosh):
    def __init__(self, jvp: float, vjp: float) -> None:
        super().__init__()
        self.factors = (jvp, vjp)

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        near, (f, g) = super()._linearize(x, constants), self.factors
        return Linearization(lambda v: f * near.jvp(v), lambda w: g * near.vjp(w))


class HiddenParameter(LogCosh):
    """The field depends on a, but its derivative by a is cut off."""

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.a.detach() * torch.tanh(x)


class _Eightfold(torch.autograd.Function):
    """``a tanh x`` whose derivative by a is too large by a factor of 8, where that is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, fault: str) -> Tensor:
        ctx.save_for_backward(x, a)
        ctx.fault = fault
        return a * torch.tanh(x)

    @staticmethod
    def backward(ctx: Any, q: Tensor) -> tuple[Tensor, Tensor, None]:
        x, a = ctx.saved_tensors
        value = torch.tanh(x)
        graph, moving = torch.is_grad_enabled(), ctx.needs_input_grad[0]
        wrong = {"always": True, "moving": moving, "fixed": not moving, "graph": graph}
        factor = 8.0 if wrong.get(ctx.fault, False) else 1.0
        return q * a * (1.0 - value.square()), factor * (q * value).sum(), None


class Attached(LogCosh):
    """A fast reverse pass that is wrong: always, where x requires a gradient, where it does not,
    where constants are given, or where it shall be differentiated itself."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def field(self, x: Tensor, constants: Constants | None = None) -> Tensor:
        given = "always" if constants is not None and self.fault == "given" else self.fault
        return _Eightfold.apply(x, self.a, given)  # type: ignore[no-any-return]


class SmallParameter(LogCosh):
    """A wrong derivative by a number that hardly counts beside another one."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Parameter(torch.tensor(1e-4))

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        small = 8.0 * self.small - 7.0 * self.small.detach()
        return self.a * torch.tanh(x) + small.square() * x


class OtherSlope(LogCosh):
    """Right values, and one way to get them that forgets the parameter."""

    def _potential_and_field(self, x: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
        return self._potential(x, constants), self.a.detach() * torch.tanh(x)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor) -> Tensor:
        ctx.save_for_backward(x, a)
        return a * torch.tanh(x)

    @staticmethod
    def backward(ctx: Any, q: Tensor) -> tuple[Tensor, Tensor]:
        x, a = (saved.detach() for saved in ctx.saved_tensors)
        value = torch.tanh(x)
        return q * a * (1.0 - value.square()), (q * value).sum()


class CutOff(LogCosh):
    """Second derivatives are zero without a word."""

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return _Once.apply(x, self.a)  # type: ignore[no-any-return]


class ForgetfulConstants(LogCosh):
    def constants(self) -> Constants:
        return (self.a.square(),)

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        a = constants[0] if not constants[0].requires_grad else self.a
        slope = a.detach() * (1.0 - torch.tanh(x).square())
        return Linearization(lambda v: slope * v, lambda v: slope * v)


class LooseConstants(LogCosh):
    def constants(self) -> Constants:
        return [self.a]  # type: ignore[return-value]


class SinglePrecision(LogCosh):
    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._field(x, constants).float()


class Cropping(LogCosh):
    def field(self, x: Tensor, constants: Constants | None = None) -> Tensor:
        return super().field(x, constants)[..., 1:]


class NotFinite(LogCosh):
    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._field(x, constants) / (x.shape[-1] - SHAPE[-1])


class Careless(LogCosh):
    """Takes whatever broadcasts."""

    def _fold(self, x: Tensor) -> Tensor:
        return x


class GrayByName(LogCosh):
    """Says that it acts on channels one by one, but mixes them."""

    channels = 1

    def _fold(self, x: Tensor) -> Tensor:
        return x

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._field(x, constants) + x.sum(1, keepdim=True)


class OfferedPotential(Residual):
    """A field that is no gradient and still answers with a number."""

    def __init__(self) -> None:
        super().__init__(lambda x: 0.5 * x.roll(1, -1))

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return dot(x, self._field(x, constants))


class ProximalLie(LogCosh):
    """Claims to have solved the equation, as deepinv's inherited default silently does."""

    def solve_prox(
        self, x: Tensor, gamma: float | Tensor = 1.0, *, tolerance: float | None = None
    ) -> Solution:
        true = super().solve_prox(x, gamma, tolerance=tolerance)
        return replace(true, x=x, status=torch.full_like(true.status, Status.CONVERGED))


class ProximalFailure(LogCosh):
    def solve_prox(
        self, x: Tensor, gamma: float | Tensor = 1.0, *, tolerance: float | None = None
    ) -> Solution:
        true = super().solve_prox(x, gamma, tolerance=tolerance)
        return replace(true, status=torch.full_like(true.status, Status.ITERATION_LIMIT))


class ForgottenArgument(Tikhonov):
    """Its configuration does not mention the operator."""

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "tikhonov"}


class UnknownToCatalogue(LogCosh):
    @property
    def config(self) -> dict[str, Any]:
        return {"name": "tikhonov"}


Check = Callable[..., None]


@pytest.mark.parametrize(
    ("regularizer", "check", "word"),
    [
        (FarTooHighModulus(), check_traits, r"modulus 50 \(PROVED\) is declared, but"),
        (HighModulus(), check_traits, r"modulus 0.01 \(PROVED\) is declared, but"),
        (LowLipschitz(), check_traits, r"lipschitz 1.49 \(PROVED\) is declared, but"),
        (LowLipschitzOfConvolution(), check_traits, "shape .*declares the Lipschitz constant 7.8"),
        (FalseBounded(), check_far_away, "declared bounded, but"),
        (FalseAttaining(), check_far_away, "attaining is declared, but the potential falls"),
        (AttainingWithoutPotential(), check_far_away, "field that is no gradient"),
        (FalseDisc(), check_traits, "disc hypothesis"),
        (FalseGradient(), check_jacobian, "J is not symmetric"),
        (OtherPotential(), check_potential, "not the gradient"),
        (OtherTogether(), check_potential, "potential_and_field gives another field"),
        (OfferedPotential(), check_potential, "offers a potential"),
        (BatchPotential(), check_shapes, "potential of 2 samples"),
        (SinglePrecision(), check_shapes, "float32"),
        (Cropping(), check_shapes, "field turned"),
        (NotFinite(), check_shapes, "not finite"),
        (MixedSamples(), check_batch, "batch differs"),
        (GrayByName(), check_channels, "colour image"),
        (WrongProducts(1.01, 1.01), check_jacobian, "jvp differs"),
        (WrongProducts(1.0, 1.01), check_jacobian, "not adjoint"),
        (HiddenParameter(), check_parameter_gradient, "of field by the parameter a differs"),
        (Attached("always"), check_parameter_gradient, "of field by the parameter a differs"),
        (Attached("moving"), check_parameter_gradient, "of an x that requires a gradient"),
        (Attached("fixed"), check_parameter_gradient, "of field by the parameter a differs"),
        (Attached("given"), check_parameter_gradient, "with constants that are given"),
        (SmallParameter(), check_parameter_gradient, "by the parameter small differs"),
        (OtherSlope(), check_parameter_gradient, "of potential_and_field by the parameter a"),
        (Attached("graph"), check_second_derivatives, "second derivative of the field by x"),
        (CutOff(), check_second_derivatives, "second derivative of the field by x"),
        (ForgetfulConstants(), check_constants, "constants change jvp"),
        (LooseConstants(), check_constants, "tuple of tensors"),
        (Careless(), check_inputs, "not refused"),
        (ProximalLie(), check_prox, "prox claims convergence"),
        (ProximalFailure(), check_prox, "did not converge.*allow more evaluations"),
        (ForgottenArgument("gradient"), check_saving, "field changed|loading gave"),
        (UnknownToCatalogue(), check_saving, "outside the catalogue was saved"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Regularizer) else "",
)
def test_broken_clauses_are_named(regularizer: Regularizer, check: Check, word: str) -> None:
    with pytest.raises(AssertionError, match=f"Regulariser contract: .*({word})"):
        check(regularizer, SHAPE if not isinstance(regularizer, FalseDisc) else (1, 1, 1, 2))


@pytest.mark.parametrize("broken", [HighModulus(), WrongProducts(1.0, 1.01), MixedSamples()])
def test_the_whole_contract_finds_them_too(broken: Regularizer) -> None:
    with pytest.raises(AssertionError, match="Regulariser contract"):
        check_regularizer(broken, SHAPE)


def test_batch_normalisation_in_training_mode_is_found() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))
    with pytest.raises(AssertionError, match="batch differs"):
        check_batch(Residual(network.train()), SHAPE)


def test_a_field_that_says_it_is_differentiable_once_keeps_the_contract() -> None:
    class Once(_Once):
        backward = torch.autograd.function.once_differentiable(_Once.backward)

    class Honest(LogCosh):
        def _field(self, x: Tensor, constants: Constants) -> Tensor:
            return Once.apply(x, self.a)  # type: ignore[no-any-return]

    check_regularizer(Honest(), (2, 2, 4, 5))


def test_what_is_known_is_said_in_one_place() -> None:
    with pytest.raises(UsageError, match=r"Twofold replaces traits\(\).* say it in modulus\(\)"):

        class Twofold(LogCosh):
            def traits(self) -> Traits:  # type: ignore[misc]
                return Traits(True, proved(0.5), proved(1.5))


def test_solves_are_bounded_by_what_the_contract_checks() -> None:
    """No other modulus than the one that is held against dense Jacobians gives error bounds."""
    torch.manual_seed(0)
    y = torch.rand(1, 1, 5, 6)
    for wrong in (HighModulus(), FarTooHighModulus()):
        equation = Equation(Denoising(), y, wrong)
        declared = wrong.traits().modulus
        assert declared == wrong.modulus()
        assert equation.modulus is not None
        assert equation.modulus.value == pytest.approx(1.0 + declared.value, rel=1e-6)
        with pytest.raises(AssertionError, match="modulus"):
            check_regularizer(wrong, SHAPE)


def test_estimated_traits_are_not_held_against_a_regulariser() -> None:
    class Estimated(LogCosh):
        def modulus(self) -> Bound:
            return estimated(0.01)

        def lipschitz(self) -> Bound:
            return estimated(1.49)

    check_traits(Estimated(), SHAPE)


def test_the_contract_leaves_the_regulariser_as_it_was() -> None:
    torch.manual_seed(0)
    regularizer = build("contractive", **SMALL["contractive"])
    before = {key: value.clone() for key, value in regularizer.state_dict().items()}
    check_regularizer(regularizer)
    for key, value in regularizer.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[key])
    with pytest.raises(NoPotentialError):
        regularizer.potential(torch.zeros(1, 1, 4, 4))
