"""The regularisation operator R: a field, what is known of it, and a potential if any."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import islice
from numbers import Real
from operator import add
from typing import Any, ClassVar, Protocol, cast, final, runtime_checkable

import torch
from deepinv.optim.prior import Prior
from torch import Tensor, nn

from equipoise.bounds import Bound
from equipoise.checks import require_positive
from equipoise.convolutions.memory import keep_freed_memory
from equipoise.data_term import IdentityTerm
from equipoise.equilibrium import Equilibrium
from equipoise.errors import UsageError
from equipoise.fields import (
    Field,
    Fold,
    Linearization,
    SumField,
    Traits,
    autograd_linearization,
    no_potential,
)
from equipoise.modes import in_own_precision, make_ordinary, refuse_transforms, verb
from equipoise.regularizers.remembered import Remembered, plain
from equipoise.solve import default_solver, solve
from equipoise.status import Solution

#: What :meth:`Regularizer.constants` returns: tensors that do not change while x does.
Constants = tuple[Tensor, ...]


@runtime_checkable
class Restrainable(Protocol):
    """A field whose modulus can be held above a bound by changing its parameters."""

    def hold_modulus(self, least: float) -> None:
        """Change the parameters as little as needed so that the modulus is at least that."""


class Regularizer(Remembered, Prior):
    r"""A regularisation operator ``R: X -> X`` as a deepinv prior.

    Subclasses implement :meth:`_field` on images with :attr:`channels` channels and, where R is a
    gradient, :meth:`_potential`. Everything that depends on the parameters but not on x (normalised
    filters, say) belongs in :meth:`constants`, which a solve computes once; what is known beyond
    the field in :meth:`_known` and the attributes :attr:`gradient_field` and
    :attr:`contractive_residual`. Solvers evaluate :meth:`frozen`, which calls the formulas and
    takes Jacobian products by autograd; where there is something faster, :meth:`_frozen` gives it.

    A regulariser with ``channels = 1`` acts on every channel of a colour, complex (two-channel) or
    other image by itself; one with ``channels = c`` demands c; ``None`` takes any number.

    ``R1 + 0.1 * R2`` is a regulariser, too (:class:`Sum`).

    deepinv's algorithms call ``fn``, ``grad`` and ``prox``; the further arguments that they pass
    (a denoiser level ``g_param``) have no meaning here and are ignored.
    """

    #: Number of image channels that :meth:`_field` expects; None: any.
    channels: int | None = None
    #: Number of spatial axes that :meth:`_field` expects; None: any.
    dims: int | None = None
    #: The one shape (C, *spatial) that R was built for; None: any size.
    image_shape: tuple[int, ...] | None = None
    #: Whether R is a gradient field; an instance may differ from its class (a composition, say).
    gradient_field: bool = True
    #: Whether R = Id - N with Lip(N) < 1 by construction.
    contractive_residual: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("traits", "modulus", "lipschitz", "attaining", "bounded"):
            if name in vars(cls):
                raise UsageError(
                    f"{cls.__name__} defines {name}, which nothing asks for: say what is known of "
                    "R in _known(), and in the attributes gradient_field and contractive_residual."
                )
        for name in ("_linearize", "_potential_and_field"):
            if name in vars(cls):
                raise UsageError(
                    f"{cls.__name__} defines {name}, which nothing asks for: faster evaluations "
                    "than the formula's are those of the Field that _frozen() gives."
                )

    def __init__(self) -> None:
        super().__init__()
        self.explicit_prior = self.gradient_field

    # ---- what subclasses implement -------------------------------------------------------------

    @abstractmethod
    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        """R(x) for x of shape (B, channels, *spatial)."""

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        """r(x), shape (B,), with R the gradient of r."""
        raise no_potential(type(self).__name__)

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        """R prepared for evaluations without a graph; override where there is something faster."""
        return FormulaField(self, fold, constants)

    def _known(self, constants: Constants) -> Traits:
        """What is known of R; the attributes are added to it.

        Args:
            constants: for the present parameters, in float64, of their own memory: what is computed
                of them later is right although the parameters have changed.
        """
        return Traits()

    def constants(self) -> Constants:
        """Whatever depends on the parameters alone, differentiably; computed once per solve."""
        return ()

    # ---- the public face -----------------------------------------------------------------------

    @final
    def traits(self) -> Traits:
        """All that is known of R for its present parameters."""
        with torch.no_grad():
            fixed = tuple(c.to(torch.float64, copy=True) for c in self.constants())
            known = self._known(fixed)
        known.gradient_field = self.gradient_field
        known.contractive_residual = self.contractive_residual
        return known

    @property
    def config(self) -> dict[str, Any]:
        """JSON-able catalogue name and constructor arguments: ``build(**config)`` makes another R.

        Raises:
            UsageError: if the class is not in the catalogue.
        """
        if self.catalogue_name is None:
            raise UsageError(
                f"{type(self).__name__} has no configuration from which it could be built again: "
                "keep the code that makes it, and save its state_dict() with your own tools."
            )
        return {"name": self.catalogue_name} | {k: plain(v) for k, v in self.arguments.items()}

    @in_own_precision
    def field(self, x: Tensor, constants: Constants | None = None) -> Tensor:
        """Compute ``R(x)``, differentiable by x and the parameters.

        Where R is made of convolutions, no features are kept between the two passes. The
        derivative can be differentiated again (``create_graph=True``); it then costs what the
        formula does.

        Args:
            x: images of shape (B, C, *spatial), float32 or float64.
            constants: result of :meth:`constants`, to save recomputing it.

        Returns:
            Tensor of the shape of x.

        Raises:
            InputError: if x has the wrong shape, dtype or device for this regulariser.
        """
        fixed = self.constants() if constants is None else constants
        return self._field(self._fold()(x), fixed).reshape(x.shape)

    @in_own_precision
    def potential(self, x: Tensor, constants: Constants | None = None) -> Tensor:
        """Compute ``r(x)`` of each sample, shape (B,), with R the gradient of r.

        Raises:
            NoPotentialError: if R is not a gradient field.
        """
        fixed = self.constants() if constants is None else constants
        return Fold.sums(self._potential(self._fold()(x), fixed), x)

    @in_own_precision
    def frozen(self) -> Field:
        """R for its present parameters, prepared for many evaluations without a graph.

        What it computes agrees with :meth:`field` and :meth:`potential` up to rounding, and is
        faster where R is made of convolutions. Changes of the parameters after the call do not
        reach it.
        """
        keep_freed_memory()
        with torch.no_grad():
            return self._frozen(self._fold(), tuple(c.detach() for c in self.constants()))

    def linearize(self, x: Tensor) -> Linearization:
        """Products with the Jacobian of R at x and with its transpose, without a graph."""
        return self.frozen().linearize(x)

    def __add__(self, other: Regularizer) -> Regularizer:
        """The field ``R1(x) + R2(x)``."""
        return Sum([self, other]) if isinstance(other, Regularizer) else NotImplemented

    def __radd__(self, other: object) -> Regularizer:
        """The field itself, added to 0: what ``sum([R1, R2])`` begins with."""
        return self if other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Regularizer:
        """The field ``c R(x)`` for a positive number c, which is not learned."""
        return Sum([self], [factor]) if isinstance(factor, Real) else NotImplemented

    __rmul__ = __mul__

    # ---- deepinv's face ------------------------------------------------------------------------

    def fn(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``r(x)``, shape (B,): :meth:`potential` under deepinv's name."""
        return self.potential(x)

    def grad(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``R(x)``: :meth:`field` under deepinv's name (for R that is no gradient as well)."""
        return self.field(x)

    def prox(self, x: Tensor, *args: Any, gamma: float | Tensor = 1.0, **kwargs: Any) -> Tensor:
        """Compute ``z`` with ``z - x + gamma R(z) = 0``, converged; warn where it is not.

        For a gradient field this is the proximal map of ``gamma r``; otherwise the resolvent of R.

        Args:
            x: images of shape (B, C, *spatial).
            gamma: positive step size.

        See :meth:`solve_prox` for the solution with its status.
        """
        solution = self.solve_prox(x, gamma)
        solution.check("warn")
        return solution.x

    @verb
    def solve_prox(
        self, x: Tensor, gamma: float | Tensor = 1.0, *, tolerance: float | None = None
    ) -> Solution:
        """Solve ``z - x + gamma R(z) = 0`` and report residual, error bound and status.

        Args:
            x: images of shape (B, C, *spatial).
            gamma: positive step size.
            tolerance: on the residual relative to what varies in x (``Solution.scale``); by
                default 1e-5 in float32 and 1e-9 in float64.

        Raises:
            InputError: if gamma or the tolerance is not a positive finite number.
        """
        refuse_transforms(x, self)
        make_ordinary(self)
        step = gamma.item() if isinstance(gamma, Tensor) and gamma.numel() == 1 else gamma
        require_positive("gamma", step)
        if tolerance is None:
            tolerance = 1e-9 if x.dtype == torch.float64 else 1e-5
        point = x.detach()
        gammas = torch.as_tensor(step, dtype=x.dtype, device=x.device).expand(len(x))
        system = Equilibrium(IdentityTerm(point), self.frozen(), gammas, self.traits())
        return solve(system, point, default_solver(system), tolerance=tolerance)

    def _fold(self) -> Fold:
        like = next(self.parameters(), None)
        return Fold(type(self).__name__, self.channels, self.dims, like)


class FormulaField(Field):
    """The formulas of a regulariser; Jacobian products by autograd."""

    def __init__(self, regularizer: Regularizer, fold: Fold, constants: Constants) -> None:
        super().__init__(fold)
        self.regularizer, self._constants = regularizer, constants

    def _value(self, x: Tensor) -> Tensor:
        return self.regularizer._field(x, self._constants)

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.regularizer._potential(x, self._constants), self._value(x)

    def _linearize(self, x: Tensor) -> Linearization:
        return autograd_linearization(self._value, x, self.regularizer.gradient_field)


class Sum(Regularizer):
    """A sum of regularisers with fixed positive weights, written ``R1 + 0.1 * R2``.

    Formula: ``R(x) = sum_i w_i R_i(x)``, with the potential ``sum_i w_i r_i(x)`` where all of them
    are gradients. Its modulus and Lipschitz constant are the sums of theirs: adding a multiple of
    Tikhonov's regulariser raises the modulus by that multiple. To learn a strength, scale by
    :class:`~equipoise.regularizers.Scaled`.

    Args:
        parts: the fields R_i.
        weights: w_i, positive and finite; None: 1.

    Raises:
        UsageError: if there is no part, or one that is no ``Regularizer``, if weights are not
            positive or not as many, or if parts were built for other images.
    """

    catalogue_name: ClassVar[str] = "sum"

    def __init__(
        self, parts: Sequence[Regularizer], weights: Sequence[float] | None = None
    ) -> None:
        weights = [1.0] * len(parts) if weights is None else weights
        if not parts or len(parts) != len(weights):
            raise UsageError(
                f"A sum takes regularizers and as many weights, got {len(parts)} and "
                f"{len(weights)}."
            )
        for part, weight in zip(parts, weights, strict=True):
            require_positive("A weight", weight, UsageError)
            if not isinstance(part, Regularizer):
                raise UsageError(f"A sum is of regularizers, got {type(part).__name__}.")
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = tuple(map(float, weights))
        self._counts: tuple[int, ...] = ()
        several = _the_one("channels", {part.channels for part in parts} - {None, 1})
        gray = all(part.channels == 1 for part in parts)
        self.channels = 1 if gray else several
        self.dims = _the_one("spatial axes", {part.dims for part in parts} - {None})
        self.image_shape = _the_one("shapes", {part.image_shape for part in parts} - {None})
        self.gradient_field = self.explicit_prior = all(part.gradient_field for part in parts)

    @property
    def config(self) -> dict[str, Any]:
        """That of the present parts."""
        return {**super().config, "parts": plain(self._fields), "weights": list(self.weights)}

    @property
    def _fields(self) -> list[Regularizer]:
        return cast(list[Regularizer], list(self.parts))

    def constants(self) -> Constants:
        """Those of all parts, one after the other."""
        found = [part.constants() for part in self._fields]
        self._counts = tuple(map(len, found))
        return sum(found, ())

    def _terms(self, constants: Constants) -> Iterator[tuple[float, Regularizer, Constants]]:
        """Weight, field and constants of each part."""
        rest = iter(constants)
        counts = self._counts or [len(part.constants()) for part in self._fields]
        for weight, part, count in zip(self.weights, self._fields, counts, strict=True):
            yield weight, part, tuple(islice(rest, count))

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return reduce(add, (w * part.field(x, own) for w, part, own in self._terms(constants)))

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return reduce(add, (w * part.potential(x, own) for w, part, own in self._terms(constants)))

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        fields = [part._frozen(part._fold(), own) for _, part, own in self._terms(constants)]
        return SumField(fold, fields, self.weights)

    def _known(self, constants: Constants) -> Traits:
        """Moduli and Lipschitz constants add; an energy with one attaining potential attains its
        minimum with quadratic ones besides, which are parts of the data term then."""
        found = [part.traits() for part in self._fields]

        def added(bounds: Iterable[Bound | None]) -> Bound | None:
            known = [b.times(w) for w, b in zip(self.weights, bounds, strict=True) if b is not None]
            return reduce(add, known) if len(known) == len(found) else None

        bent = [known for known in found if not known.linear]
        return Traits(
            modulus=lambda: added(known.modulus for known in found),
            lipschitz=lambda: added(known.lipschitz for known in found),
            attaining=all(known.attaining for known in found) and len(bent) <= 1,
            bounded=all(known.bounded for known in found),
            linear=not bent,
        )


def _the_one(what: str, said: set[Any]) -> Any:
    """What all parts of a sum say that say something; None if none does."""
    if len(said) > 1:
        raise UsageError(f"The parts of a sum were built for other {what}: {sorted(said)}.")
    return next(iter(said), None)
