"""What a solver needs to know about the equation ``E(x) = 0`` that it solves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from equipoise.bounds import Bound
from equipoise.convolutions.circulant import FLOOR
from equipoise.gauge import Gauge


@runtime_checkable
class Preconditioner(Protocol):
    """A symmetric positive definite map near the inverse of E's Jacobian, sample by sample."""

    def __call__(self, v: Tensor) -> Tensor:
        """Apply the map."""

    @property
    def factor(self) -> Tensor:
        """Of each sample where the map is that multiple of the identity, else NaN, (B,)."""

    def adapted(self, s: Tensor, y: Tensor) -> Preconditioner:
        """The map with that floor of each sample which comes nearest to turning y into s.

        Args:
            s: differences of points, shape (B, differences, ...); zero ones do not count.
            y: those of E.
        """

    @property
    def floor(self) -> Tensor:
        """The floor of each sample, (B,)."""

    def select(self, keep: Tensor) -> Preconditioner:
        """The map of the samples ``keep`` (indices)."""


@runtime_checkable
class Preconditionable(Protocol):
    """A system that knows preconditioners; solvers ask for them where they help."""

    def preconditioner(self, x: Tensor, floor: float | Tensor = FLOOR) -> Preconditioner | None:
        """A map near the inverse of E's Jacobian around x, or None where none is known.

        Eigenvalues of the Jacobian below a share ``floor`` of the largest one are raised to it.
        """


@runtime_checkable
class Guarded(Protocol):
    """A system that refers to objects which others may change."""

    def check_unchanged(self) -> None:
        """Refuse, with an ``InputError``, if they have been changed; called once a solve."""


@runtime_checkable
class Verifiable(Protocol):
    """A system that can be evaluated in a higher precision than its own."""

    def exact_residual(self, x: Tensor) -> Tensor | None:
        """``E(x)`` of the same numbers in float64; None where it has no such precision."""


@runtime_checkable
class System(Protocol):
    """A batch of nonlinear equations ``E_i(x_i) = 0``, one per sample.

    Solvers see nothing else, so they can be run on anything that has these members:
    :class:`equipoise.Equation`, the equation of a proximal map, or a test's closed form.
    All methods run without building an autograd graph.
    """

    @property
    def gauge(self) -> Gauge:
        """What residuals are measured by; depends on the equation alone, never on a start."""

    @property
    def like(self) -> Tensor:
        """A tensor of the shape (B, ...), dtype and device of the unknown x."""

    @property
    def gradient_field(self) -> bool:
        """Whether E is the gradient of :meth:`potential_and_residual`'s first value."""

    @property
    def modulus(self) -> Bound | None:
        """Strong monotonicity m: ``<E(x) - E(z), x - z> >= m ||x - z||^2``; may be negative."""

    @property
    def lipschitz(self) -> Bound | None:
        """Lipschitz constant of E."""

    @property
    def disc(self) -> bool:
        """Whether ``E - (L+m)/2 Id`` is ``(L-m)/2``-Lipschitz (true for gradients)."""

    def residual(self, x: Tensor) -> Tensor:
        """``E(x)``, same shape as x."""

    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Potential of each sample, shape (B,), and ``E(x)``; only for gradient fields."""

    def in_domain(self, x: Tensor) -> Tensor | None:
        """Boolean (B,): whether E is defined at each sample; None where it is everywhere."""

    def resolvent(self) -> tuple[Callable[[Tensor], Tensor], float] | None:
        """``v -> (G + c I)^{-1} v`` and its ``c``, for ``P_c(x) = x - (G + c I)^{-1} E(x)``.

        None where the physics cannot be inverted exactly. The map treats every sample alike: a
        solver asks for it once and goes on using it for a selection of the samples.
        """

    def select(self, keep: Tensor) -> System | None:
        """The system of the samples ``keep`` (indices), or None if it cannot be cut."""
