"""The regularisation operator R: a field, with its Jacobian, its traits, and a potential if any."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final, runtime_checkable

import torch
from deepinv.optim.prior import Prior
from torch import Tensor

from equipoise.bounds import Bound
from equipoise.errors import InputError, NoPotentialError, UsageError
from equipoise.memory import keep_freed_memory
from equipoise.modes import in_own_precision
from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.linearization import Linearization, autograd_linearization
from equipoise.regularizers.proximal import solve_prox
from equipoise.status import Solution

#: What :meth:`Regularizer.constants` returns: tensors that do not change while x does.
Constants = tuple[Tensor, ...]


@dataclass(frozen=True)
class Traits:
    """What is known of a field R, each number with its standing (proved or estimated).

    Gathered by :meth:`Regularizer.traits` from the members of the same names.

    Args:
        gradient_field: R is the gradient of a potential (equivalently, symmetric Jacobian).
        modulus: mu with ``<R(x) - R(z), x - z> >= mu ||x - z||^2``. Non-negative: R is monotone;
            negative: R is ``-mu``-weakly monotone (weak convexity ``-mu`` of the potential).
            None: unknown.
        lipschitz: Lipschitz constant of R; None: unknown.
        contractive_residual: R = Id - N with Lip(N) <= q < 1 by construction; then the disc
            hypothesis (D) of the theory holds though R need not be a gradient.
        attaining: R is the gradient of a potential r such that ``||A x - y||^2 / 2 + alpha r(x)``
            attains its minimum for every linear A, every y and every alpha > 0.
        bounded: ``||R(x)||`` is bounded over all images of a size.
    """

    gradient_field: bool
    modulus: Bound | None = None
    lipschitz: Bound | None = None
    contractive_residual: bool = False
    attaining: bool = False
    bounded: bool = False

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
        known = self.modulus is not None and self.lipschitz is not None
        return known and (self.gradient_field or self.contractive_residual)


@runtime_checkable
class Restrainable(Protocol):
    """A field whose modulus can be held above a bound by changing its parameters."""

    def hold_modulus(self, least: float) -> None:
        """Change the parameters as little as needed so that ``modulus() >= least``."""


class Regularizer(Prior):
    r"""A regularisation operator ``R: X -> X`` as a deepinv prior.

    Subclasses implement :meth:`_field` on images with :attr:`channels` channels and, where R is a
    gradient, :meth:`_potential`; analytic Jacobian products go into :meth:`_linearize`, otherwise
    autograd supplies them. Everything that depends on the parameters but not on x (normalised
    filters, say) belongs in :meth:`constants`, which a solve computes once. What is known beyond
    the field is said by :meth:`modulus`, :meth:`lipschitz`, :meth:`attaining`, :meth:`bounded` and
    the attributes :attr:`gradient_field` and :attr:`contractive_residual`.

    A regulariser with ``channels = 1`` acts on every channel of a colour, complex (two-channel) or
    other image by itself; one with ``channels = c`` demands c; ``None`` takes any number.

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
    #: Name under which :func:`equipoise.regularizers.build` makes the class; None: by hand only.
    catalogue_name: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "traits" in vars(cls):
            raise UsageError(
                f"{cls.__name__} replaces traits(), which only gathers what is known of a field: "
                "say it in modulus(), lipschitz(), attaining() and bounded(), and in the "
                "attributes gradient_field and contractive_residual."
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
        raise NoPotentialError(
            f"{type(self).__name__} is not the gradient of a potential; "
            "use a solver that needs none (fixed_point, anderson, resolvent)."
        )

    def _potential_and_field(self, x: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
        """r(x) and R(x); override where one forward pass gives both."""
        return self._potential(x, constants), self._field(x, constants)

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        """Jacobian products at x; override where they are known analytically."""
        return autograd_linearization(lambda z: self._field(z, constants), x, self.gradient_field)

    def _frozen(self, constants: Constants) -> FrozenField:
        """R prepared for evaluations without a graph; override where preparation pays."""
        return FrozenField(self, constants)

    def constants(self) -> Constants:
        """Whatever depends on the parameters alone, differentiably; computed once per solve."""
        return ()

    def modulus(self) -> Bound | None:
        """mu with ``<R(x) - R(z), x - z> >= mu ||x - z||^2`` for the present parameters.

        It holds for every image size; None: unknown.
        """
        return None

    def lipschitz(self) -> Bound | None:
        """A Lipschitz constant of R for its present parameters and every image size, or None."""
        return None

    def attaining(self) -> bool:
        """Whether energies with the potential are known to attain minima (see :class:`Traits`)."""
        return False

    def bounded(self) -> bool:
        """Whether ``||R(x)||`` is known to be bounded over all images of a size."""
        return False

    @property
    def config(self) -> dict[str, Any]:
        """JSON-able catalogue name and constructor arguments: ``build(**config)`` makes another R.

        Raises:
            UsageError: if the class is not in the catalogue.
        """
        raise UsageError(
            f"{type(self).__name__} has no configuration from which it could be built again: "
            "keep the code that makes it, and save its state_dict() with your own tools."
        )

    # ---- the public face -----------------------------------------------------------------------

    @final
    def traits(self) -> Traits:
        """All that is known of R for its present parameters, gathered; costs more than its parts.

        Subclasses say it in :meth:`modulus`, :meth:`lipschitz`, :meth:`attaining`,
        :meth:`bounded` and the attributes; one that replaces this method is refused.
        """
        return Traits(
            gradient_field=self.gradient_field,
            modulus=self.modulus(),
            lipschitz=self.lipschitz(),
            contractive_residual=self.contractive_residual,
            attaining=self.attaining(),
            bounded=self.bounded(),
        )

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
        fold = self._fold(x)
        return self._field(fold, self._given(constants)).reshape(x.shape)

    @in_own_precision
    def potential(self, x: Tensor, constants: Constants | None = None) -> Tensor:
        """Compute ``r(x)`` of each sample, shape (B,), with R the gradient of r.

        Raises:
            NoPotentialError: if R is not a gradient field.
        """
        fold = self._fold(x)
        return self._unfold_scalar(self._potential(fold, self._given(constants)), x)

    @in_own_precision
    def potential_and_field(
        self, x: Tensor, constants: Constants | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute ``r(x)``, shape (B,), and ``R(x)`` from one forward pass where possible."""
        fold = self._fold(x)
        value, field = self._potential_and_field(fold, self._given(constants))
        return self._unfold_scalar(value, x), field.reshape(x.shape)

    @in_own_precision
    def linearize(self, x: Tensor, constants: Constants | None = None) -> Linearization:
        """Products with the Jacobian of R at x and with its transpose."""
        fold = self._fold(x)
        return self._linearize(fold, self._given(constants)).between(fold.shape, x.shape)

    @in_own_precision
    def frozen(self) -> FrozenField:
        """R for its present parameters, prepared for many evaluations without a graph.

        What it computes agrees with :meth:`field` and the others up to rounding, and is faster
        where R is made of convolutions. Changes of the parameters after the call do not reach it.
        """
        keep_freed_memory()
        with torch.no_grad():
            return self._frozen(tuple(c.detach() for c in self.constants()))

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

    def solve_prox(
        self, x: Tensor, gamma: float | Tensor = 1.0, *, tolerance: float | None = None
    ) -> Solution:
        """Solve ``z - x + gamma R(z) = 0`` and report residual, error bound and status.

        Args:
            x: images of shape (B, C, *spatial).
            gamma: positive step size.
            tolerance: on the residual relative to what varies in x (``Solution.scale``); by
                default 1e-5 in float32 and 1e-9 in float64.
        """
        return solve_prox(self, x, gamma, tolerance)

    # ---- checks --------------------------------------------------------------------------------

    def _given(self, constants: Constants | None) -> Constants:
        return self.constants() if constants is None else constants

    def _fold(self, x: Tensor) -> Tensor:
        """Check x and, for gray regularisers, turn its channels into samples."""
        name = type(self).__name__
        if x.dim() < 3:
            raise InputError(
                f"{name} expects images of shape (batch, channels, *spatial), got {tuple(x.shape)}."
            )
        if self.dims is not None and x.dim() != 2 + self.dims:
            raise InputError(
                f"{name} was built for {self.dims} spatial axes, got shape {tuple(x.shape)}."
            )
        reference = next(self.parameters(), None)
        if reference is not None and reference.dtype != x.dtype:
            raise InputError(
                f"{name} has parameters of dtype {reference.dtype} but x is {x.dtype}: "
                f"convert one of them, for example regularizer.to({x.dtype})."
            )
        if reference is not None and reference.device != x.device:
            raise InputError(
                f"{name} is on {reference.device} but x is on {x.device}: "
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
    def _unfold_scalar(value: Tensor, x: Tensor) -> Tensor:
        folded = value.dim() == 1 and len(value) > len(x)
        return value.reshape(len(x), -1).sum(1) if folded else value
