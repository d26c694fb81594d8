"""Evaluators of fields R whose parameters are held fixed, sums and scalings of them, and what is
known of a field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from equipoise.bounds import Bound
from equipoise.convolutions.circulant import LocalKernels, sum_of_kernels
from equipoise.errors import InputError, NoPotentialError
from equipoise.modes import in_own_precision, leaf


@dataclass(frozen=True)
class Linearization:
    """Jacobian products of R at a point x, from one forward pass.

    Args:
        jvp: ``v -> J_R(x) v``.
        vjp: ``w -> J_R(x)^T w``; the same function as ``jvp`` for gradient fields.
    """

    jvp: Callable[[Tensor], Tensor]
    vjp: Callable[[Tensor], Tensor]

    def then(self, change: Callable[[Callable[[Tensor], Tensor]], Any]) -> Linearization:
        """The products, each turned into another one; one that is both stays both."""
        jvp = change(self.jvp)
        return Linearization(jvp, jvp if self.vjp is self.jvp else change(self.vjp))


def autograd_linearization(
    field: Callable[[Tensor], Tensor], x: Tensor, symmetric: bool
) -> Linearization:
    """Jacobian products of any field by automatic differentiation.

    ``vjp`` is one reverse pass through a graph kept from one forward pass. ``jvp`` is the same for
    symmetric Jacobians, otherwise the derivative of ``w -> J^T w`` (double back-propagation).

    Args:
        field: a differentiable map of tensors shaped like x.
        x: where to linearise.
        symmetric: whether the Jacobian is known to be symmetric.
    """
    with torch.enable_grad():
        point = leaf(x)
        value = field(point)
        if not value.requires_grad:  # a field that does not depend on x
            return Linearization(torch.zeros_like, torch.zeros_like)

        def vjp(w: Tensor) -> Tensor:
            return torch.autograd.grad(value, point, w, retain_graph=True)[0]

        if symmetric:
            return Linearization(vjp, vjp)
        probe = torch.zeros_like(value, requires_grad=True)
        pulled = torch.autograd.grad(value, point, probe, create_graph=True)[0]

    def jvp(v: Tensor) -> Tensor:
        return torch.autograd.grad(pulled, probe, v, retain_graph=True)[0]

    return Linearization(jvp, vjp)


#: A number that is known, or a function that finds it.
Found = Bound | Callable[[], Bound | None] | None


class Traits:
    """What is known of a field R, each number with its standing (proved or estimated).

    Args:
        modulus: mu with ``<R(x) - R(z), x - z> >= mu ||x - z||^2`` for every image size.
            Non-negative: R is monotone; negative: R is ``-mu``-weakly monotone (weak convexity
            ``-mu`` of the potential). None: unknown. Like the next one, it may be a function that
            computes it when it is asked for (from numbers that no longer change).
        lipschitz: Lipschitz constant of R for every image size.
        attaining: R is the gradient of a potential r such that ``||A x - y||^2 / 2 + alpha r(x)``
            attains its minimum for every linear A, every y and every alpha > 0.
        bounded: ``||R(x)||`` is bounded over all images of a size.
        linear: R is linear in x.
        gradient_field: R is the gradient of a potential (equivalently, symmetric Jacobian).
        contractive_residual: R = Id - N with Lip(N) <= q < 1 by construction; then the disc
            hypothesis (D) of the theory holds though R need not be a gradient.
    """

    def __init__(
        self,
        *,
        modulus: Found = None,
        lipschitz: Found = None,
        attaining: bool = False,
        bounded: bool = False,
        linear: bool = False,
        gradient_field: bool = True,
        contractive_residual: bool = False,
    ) -> None:
        self._modulus, self._lipschitz = modulus, lipschitz
        self.attaining, self.bounded, self.linear = attaining, bounded, linear
        self.gradient_field, self.contractive_residual = gradient_field, contractive_residual

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_modulus": self.modulus, "_lipschitz": self.lipschitz}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Traits) and self._known() == other._known()

    def __repr__(self) -> str:
        return f"Traits({', '.join(f'{name}={value}' for name, value in self._known().items())})"

    def _known(self) -> dict[str, Any]:
        names = ("attaining", "bounded", "linear", "gradient_field", "contractive_residual")
        known = {name: getattr(self, name) for name in names}
        return {"modulus": self.modulus, "lipschitz": self.lipschitz, **known}

    @cached_property
    def modulus(self) -> Bound | None:
        """The modulus of R, or None."""
        return self._modulus() if callable(self._modulus) else self._modulus

    @cached_property
    def lipschitz(self) -> Bound | None:
        """The Lipschitz constant of R, or None."""
        return self._lipschitz() if callable(self._lipschitz) else self._lipschitz

    @property
    def monotone(self) -> bool:
        """Whether R is proved to be monotone."""
        return self.modulus is not None and self.modulus.proved and self.modulus.value >= 0

    @property
    def weak_convexity(self) -> Bound | None:
        """``max(0, -mu)``, the modulus of weak convexity (of weak monotonicity)."""
        if self.modulus is None:
            return None
        return Bound(max(0.0, -self.modulus.value), self.modulus.kind, self.modulus.why)

    @property
    def disc(self) -> bool:
        """Whether ``R - (L+mu)/2 Id`` is ``(L-mu)/2``-Lipschitz: gradients, residuals as above."""
        of_a_kind = self.gradient_field or self.contractive_residual
        return of_a_kind and self.modulus is not None and self.lipschitz is not None


@dataclass(frozen=True)
class Fold:
    """Which images a field takes, and how their channels are turned into samples.

    Args:
        name: of the field, for messages.
        channels: number of image channels; 1 takes every channel by itself, None any number.
        dims: number of spatial axes; None: any.
        like: a parameter of the field, whose dtype and device images must have; None: any.
    """

    name: str
    channels: int | None
    dims: int | None
    like: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """The images with the field's own number of channels.

        Raises:
            InputError: if they have the wrong shape, dtype or device for the field.
        """
        name, like = self.name, self.like
        if x.dim() < 3:
            raise InputError(
                f"{name} expects images of shape (batch, channels, *spatial), got {tuple(x.shape)}."
            )
        if self.dims is not None and x.dim() != 2 + self.dims:
            raise InputError(
                f"{name} was built for {self.dims} spatial axes, got shape {tuple(x.shape)}."
            )
        if like is not None and like.dtype != x.dtype:
            raise InputError(
                f"{name} has parameters of dtype {like.dtype} but x is {x.dtype}: "
                f"convert one of them, for example regularizer.to({x.dtype})."
            )
        if like is not None and like.device != x.device:
            raise InputError(
                f"{name} is on {like.device} but x is on {x.device}: "
                f"move one of them, for example regularizer.to('{x.device}')."
            )
        if self.channels is None or x.shape[1] == self.channels:
            return x
        if self.channels == 1:
            return x.reshape(x.shape[0] * x.shape[1], 1, *x.shape[2:])
        raise InputError(
            f"{name} was built for {self.channels} channels, got {x.shape[1]}. "
            "Only regularisers with one channel act on the channels one by one."
        )

    @staticmethod
    def sums(values: Tensor, x: Tensor) -> Tensor:
        """One number for each sample of x, where channels had become samples the sum over them."""
        folded = values.dim() == 1 and len(values) > len(x)
        return values.reshape(len(x), -1).sum(1) if folded else values


class Field(ABC):
    """R for its parameters at the time it was made, without graphs: what solvers evaluate.

    Subclasses implement the methods with an underscore, which see images with R's own number of
    channels.

    Args:
        fold: which images R takes.
    """

    def __init__(self, fold: Fold) -> None:
        self.fold = fold

    @torch.no_grad()
    def value(self, x: Tensor) -> Tensor:
        """``R(x)``, shape of x.

        Raises:
            InputError: if x has the wrong shape, dtype or device for this regulariser.
        """
        return self._value(self.fold(x)).reshape(x.shape)

    @torch.no_grad()
    def potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``r(x)``, shape (B,), and ``R(x)``, from one forward pass where possible.

        Raises:
            NoPotentialError: if R is not a gradient field.
        """
        potential, value = self._potential_and_value(self.fold(x))
        return self.fold.sums(potential, x), value.reshape(x.shape)

    @in_own_precision
    @torch.no_grad()
    def linearize(self, x: Tensor) -> Linearization:
        """Products with the Jacobian at x and with its transpose."""
        fold = self.fold(x)

        def unfolded(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            return in_own_precision(lambda v: product(v.reshape(fold.shape)).reshape(x.shape))

        return self._linearize(fold).then(unfolded)

    @torch.no_grad()
    def local_kernels(self, x: Tensor) -> LocalKernels | None:
        """Convolutions that act like the Jacobian near x, for preconditioning.

        Args:
            x: images of shape (B, C, *spatial).

        Returns:
            A positive semi-definite operator on groups of c channels, its first axis of length
            ``B * C / c``: ``c = channels`` where R mixes channels, else 1. None where R is like no
            convolution (a dense operator, a network).
        """
        return self._local_kernels(self.fold(x))

    @abstractmethod
    def _value(self, x: Tensor) -> Tensor:
        """R(x)."""

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """r(x), shape (B,), and R(x)."""
        raise no_potential(self.fold.name)

    @abstractmethod
    def _linearize(self, x: Tensor) -> Linearization:
        """Jacobian products at x."""

    def _local_kernels(self, x: Tensor) -> LocalKernels | None:
        return None


class ScaledField(Field):
    """``(a / s) R(s x)``.

    Args:
        fold: which images it takes, those of R.
        inner: R.
        a: the strength.
        s: the scale.
    """

    def __init__(self, fold: Fold, inner: Field, a: Tensor, s: Tensor) -> None:
        super().__init__(fold)
        self._inner, self._a, self._s = inner, a, s

    def _value(self, x: Tensor) -> Tensor:
        return self._inner._value(self._s * x).mul_(self._a / self._s)

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        potential, value = self._inner._potential_and_value(self._s * x)
        return self._a / self._s.square() * potential, value.mul_(self._a / self._s)

    def _linearize(self, x: Tensor) -> Linearization:
        return self._inner._linearize(self._s * x).then(self._times)

    def _times(self, product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda v: self._a * product(v)

    def _local_kernels(self, x: Tensor) -> LocalKernels | None:
        local = self._inner._local_kernels(self._s * x)
        return None if local is None else local.times(self._a)


class SumField(Field):
    """``sum_i w_i R_i(x)``.

    Args:
        fold: which images it takes.
        fields: R_i.
        weights: w_i.
    """

    def __init__(self, fold: Fold, fields: Sequence[Field], weights: Sequence[float]) -> None:
        super().__init__(fold)
        self._parts = list(zip(weights, fields, strict=True))

    def _value(self, x: Tensor) -> Tensor:
        return reduce(add, (w * part.value(x) for w, part in self._parts))

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = [(w, *part.potential_and_value(x)) for w, part in self._parts]
        potentials, values = zip(*((w * r, w * value) for w, r, value in found), strict=True)
        return reduce(add, potentials), reduce(add, values)

    def _linearize(self, x: Tensor) -> Linearization:
        found = [(w, part.linearize(x)) for w, part in self._parts]

        def jvp(v: Tensor) -> Tensor:
            return reduce(add, (w * near.jvp(v) for w, near in found))

        def vjp(v: Tensor) -> Tensor:
            return reduce(add, (w * near.vjp(v) for w, near in found))

        return Linearization(jvp, jvp if all(n.vjp is n.jvp for _, n in found) else vjp)

    def _local_kernels(self, x: Tensor) -> LocalKernels | None:
        found = [(w, part.local_kernels(x)) for w, part in self._parts]
        known = [local.times(w) for w, local in found if local is not None]
        return sum_of_kernels(known) if len(known) == len(found) else None


def no_potential(name: str) -> NoPotentialError:
    """What is raised where a potential is asked of a field that is no gradient."""
    return NoPotentialError(
        f"{name} is not the gradient of a potential; "
        "use a solver that needs none (fixed_point, anderson, resolvent)."
    )
