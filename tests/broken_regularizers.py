"""A regulariser of a user that keeps the contract, and ones that break one clause each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.bounds import Bound, proved
from equipoise.regularizers import (
    Linearization,
    Regularizer,
    Residual,
    Tikhonov,
    build,
)
from equipoise.regularizers.base import Constants
from equipoise.regularizers.linearization import autograd_linearization
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

    def modulus(self) -> Bound:
        return proved(0.0)

    def lipschitz(self) -> Bound:
        return proved(float(self.a.detach()))


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
