"""A regulariser of a user that keeps the contract, and ones that break one clause each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.bounds import proved
from equipoise.fields import Field, Fold, Linearization, Traits, autograd_linearization
from equipoise.regularizers import (
    Regularizer,
    Residual,
    Tikhonov,
    build,
)
from equipoise.regularizers.base import Constants
from equipoise.status import Solution, Status
from equipoise.vectors import dot

SHAPE = (2, 1, 5, 6)


class LogCosh(Regularizer):
    """A user's own regulariser: ``r(x) = a sum log cosh x``, products by autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.5))

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.a * torch.tanh(x)

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return self.a * (x.abs() + nn.functional.softplus(-2.0 * x.abs())).flatten(1).sum(1)

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(0.0), lipschitz=proved(float(self.a.detach())))


class HighModulus(LogCosh):
    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(0.01), lipschitz=super()._known(constants).lipschitz)


class FarTooHighModulus(LogCosh):
    """The error bounds of solves would be a thousand times too small."""

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(50.0), lipschitz=super()._known(constants).lipschitz)


class LowLipschitz(LogCosh):
    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(0.0), lipschitz=proved(1.49))


class LowLipschitzOfConvolution(Regularizer):
    """Declares a number that only images of more than a few pixels exceed."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build("tikhonov", operator="gradient")

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.inner.field(x)

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return self.inner.potential(x)

    def _known(self, constants: Constants) -> Traits:
        return Traits(lipschitz=proved(7.8))


class LateTraits(LogCosh):
    """Its constant follows parameters that change after it was asked for."""

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(0.0), lipschitz=lambda: proved(float(self.a.detach())))


class FalseBounded(LogCosh):
    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._field(x, constants) + 1e-3 * x

    def _known(self, constants: Constants) -> Traits:
        return Traits(bounded=True)


class FalseLinear(LogCosh):
    def _known(self, constants: Constants) -> Traits:
        return Traits(linear=True)


class FalseAttaining(LogCosh):
    """Linear far away on the one side, and falling."""

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return super()._potential(x, constants) - 2.0 * x.flatten(1).sum(1)

    def _known(self, constants: Constants) -> Traits:
        return Traits(attaining=True)


class AttainingWithoutPotential(Residual):
    def __init__(self) -> None:
        super().__init__(lambda x: 0.5 * x.roll(1, -1))

    def _known(self, constants: Constants) -> Traits:
        return Traits(attaining=True)


class FalseDisc(Residual):
    """``x + rotation``: L and mu are right, but the disc is larger."""

    channels = 1
    contractive_residual = True

    def __init__(self) -> None:
        super().__init__(lambda x: -0.5 * x.flip(-1) * torch.tensor([1.0, -1.0]).double())

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=proved(1.0), lipschitz=proved(1.2))


class FalseGradient(LogCosh):
    """Mixes each pixel with one neighbour only; its products are right, its claim is not."""

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.a * torch.tanh(x + x.roll(1, -1))

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        made = super()._frozen(fold, constants)
        made._linearize = lambda x: autograd_linearization(made._value, x, symmetric=False)
        return made


class OtherPotential(LogCosh):
    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return 1.01 * super()._potential(x, constants)


class OtherTogether(LogCosh):
    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        made = super()._frozen(fold, constants)
        made._potential_and_value = lambda x: (
            self._potential(x, constants),
            1.01 * self._field(x, constants),
        )
        return made


class OtherFrozen(LogCosh):
    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        made = super()._frozen(fold, constants)
        made._value = lambda x: 1.01 * self._field(x, constants)
        return made


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

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        made, (f, g) = super()._frozen(fold, constants), self.factors

        def wrong(x: Tensor) -> Linearization:
            near = autograd_linearization(made._value, x, symmetric=True)
            return Linearization(lambda v: f * near.jvp(v), lambda w: g * near.vjp(w))

        made._linearize = wrong
        return made


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


class FalseOnce(torch.autograd.Function):
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
        return FalseOnce.apply(x, self.a)  # type: ignore[no-any-return]


class ForgetfulConstants(LogCosh):
    def constants(self) -> Constants:
        return (self.a.square(),)

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        a = constants[0] if not constants[0].requires_grad else self.a
        return a * torch.tanh(x)


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


class Open(Fold):
    def __call__(self, x: Tensor) -> Tensor:
        return x


class Careless(LogCosh):
    """Takes whatever broadcasts."""

    def _fold(self) -> Fold:
        return Open("Careless", None, None, None)


class GrayByName(LogCosh):
    """Says that it acts on channels one by one, but mixes them."""

    channels = 1

    def _fold(self) -> Fold:
        return Open("GrayByName", None, None, None)

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
