"""What solvers see: ``grad f(x) + alpha R(x) = 0`` from a data term and an evaluator of R."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from equipoise.bounds import Bound
from equipoise.convolutions.circulant import FLOOR, LocalInverse, local_inverse
from equipoise.data_term import DataTerm
from equipoise.fields import Field, Linearization, Traits
from equipoise.gauge import Gauge
from equipoise.modes import in_own_precision, verb
from equipoise.scales import gauge_of
from equipoise.vectors import expand


class Equilibrium:
    """The system ``E(x) = grad f(x) + alpha R(x)`` of one batch, without graphs.

    Formula: ``E(x) = A^T (A x - y) / sigma^2 + alpha R(x)`` for the squared norm.

    Args:
        data: f.
        field: R.
        alphas: alpha of each sample, shape (B,).
        traits: what is known of R.
        gauge: what residuals are measured by; None: see :func:`equipoise.scales.gauge_of`.
        exact: gives the same system in float64, or None where there is none.
    """

    def __init__(
        self,
        data: DataTerm,
        field: Field,
        alphas: Tensor,
        traits: Traits,
        *,
        gauge: Gauge | None = None,
        exact: Callable[[], Equilibrium | None] = lambda: None,
    ) -> None:
        known: dict[str, Any] = {} if gauge is None else {"gauge": gauge}
        self.__dict__.update(
            data=data, field=field, alphas=alphas, _traits=traits, _exact=exact, **known
        )
        self.__dict__["_strength"] = expand(alphas, self.like)

    data: DataTerm
    field: Field
    alphas: Tensor
    _strength: Tensor
    _traits: Traits
    _exact: Callable[[], Equilibrium | None]

    def check_unchanged(self) -> None:
        """Refuse to go on if something that the system refers to has been changed: nothing here."""

    # ---- evaluation ----------------------------------------------------------------------------

    @property
    def like(self) -> Tensor:
        """A tensor of shape, dtype and device of the unknown: ``A^T y``."""
        return self.data.like

    @in_own_precision
    @torch.no_grad()
    def residual(self, x: Tensor) -> Tensor:
        """``E(x)``, shape of x."""
        return self.data.gradient(x) + self._strength * self.field.value(x)

    @in_own_precision
    @torch.no_grad()
    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``f(x) + alpha r(x)``, shape (B,), and ``E(x)``; only for gradient fields."""
        energy, slope = self.data.energy_and_gradient(x)
        potential, value = self.field.potential_and_value(x)
        return energy + self.alphas * potential, slope + self._strength * value

    def exact_residual(self, x: Tensor) -> Tensor | None:
        """``E(x)`` of the same numbers in float64, which tells what rounding makes of it.

        None in float64, and where the physics, R or the data fidelity know no other precision.
        """
        twin = None if x.dtype == torch.float64 else self._exact()
        if twin is None:
            return None
        try:
            return twin.residual(x.double())
        except Exception:  # an operator of float32 alone may raise anything
            return None

    @in_own_precision
    @torch.no_grad()
    def in_domain(self, x: Tensor) -> Tensor | None:
        """Boolean (B,), or None where the data fidelity is defined everywhere."""
        return self.data.in_domain(x)

    @in_own_precision
    @torch.no_grad()
    def linearize(self, x: Tensor) -> Linearization:
        """``v -> J v`` and ``w -> J^T w`` with ``J = f'' + alpha J_R`` at x."""
        self.check_unchanged()
        curve = self.data.hessian(x)

        def added(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            @in_own_precision
            @torch.no_grad()
            def total(v: Tensor) -> Tensor:
                return curve(v) + self._strength * product(v)

            return total

        return self.field.linearize(x).then(added)

    @verb
    @torch.no_grad()
    def preconditioner(self, x: Tensor, floor: float | Tensor = FLOOR) -> LocalInverse | None:
        """A symmetric positive definite operator near ``J^{-1}`` at x that costs a few FFTs.

        Formula: ``sum_j w_j F* (S_A + alpha S_j)^{-1} F w_j`` with the multiplier nearest to the
        physics' (exact for circular convolutions, the mean for masks) and, for each part j of the
        image, the power spectra of R's filters weighted by the mean curvature of the potentials.
        Where A sees pixels differently, J is divided by the roots of its diagonal from both sides
        before it is taken for convolutions.

        Args:
            x: the point, shape (B, C, ...).
            floor: share of the largest eigenvalue of J that smaller ones are raised to, one number
                or one for each sample.

        Returns:
            A map of images that can be cut with ``select``; None where R is like no convolution.
        """
        self.check_unchanged()
        local = self.field.local_kernels(x)
        if local is None:
            return None
        groups = len(local.kernels) // len(self.alphas)
        alphas = expand(self.alphas.repeat_interleave(groups), local.kernels)
        rows = self.data.row_norms(x)
        return local_inverse(local.times(alphas), self.data.multiplier(x), floor, rows)

    # ---- what is known -------------------------------------------------------------------------

    @cached_property
    @in_own_precision
    @torch.no_grad()
    def gauge(self) -> Gauge:
        """What residuals are measured by, see :func:`equipoise.scales.gauge_of`."""
        return gauge_of(self.data, self.field, self.like, self.alphas)

    @property
    def scale(self) -> Tensor:
        """What the size of a residual is relative to, shape (B,)."""
        return self.gauge.scale

    @property
    def traits(self) -> Traits:
        """What is known of R."""
        self.check_unchanged()
        return self._traits

    @property
    def gradient_field(self) -> bool:
        """Whether E is the gradient of an energy, so that J is symmetric."""
        return self._traits.gradient_field

    @property
    def disc(self) -> bool:
        """Whether hypothesis (D) of the theory holds for R, hence for E."""
        return self.traits.disc

    @cached_property
    def modulus(self) -> Bound | None:
        """Strong monotonicity ``m = s_-^2 + alpha mu`` of E (theory, Prop 1(iii))."""
        mu = self.traits.modulus
        if mu is None:
            return None
        worst = self.alphas.max() if mu.value < 0 else self.alphas.min()
        return self._spectrum[0] + mu.times(float(worst))

    @cached_property
    def lipschitz(self) -> Bound | None:
        """``L_E = s_+^2 + alpha L``."""
        bound = self.traits.lipschitz
        return None if bound is None else self._spectrum[1] + bound.times(float(self.alphas.max()))

    @property
    @verb
    @torch.no_grad()
    def _spectrum(self) -> tuple[Bound, Bound]:
        return self.data.spectrum

    @verb
    def resolvent(self) -> tuple[Callable[[Tensor], Tensor], float] | None:
        """``v -> (A^T A + c I)^{-1} v`` and its best c (theory, section 2), or None.

        ``c = alpha (mu + L) / 2`` where both constants are known, ``c = alpha`` otherwise.
        """
        alpha, mu, high = float(self.alphas.max()), self.traits.modulus, self.traits.lipschitz
        c = alpha if mu is None or high is None else 0.5 * alpha * (mu.value + high.value)
        inverse = self.data.shifted_inverse(c) if 0 < c < math.inf else None
        return None if inverse is None else (inverse, c)

    # ---- parts ---------------------------------------------------------------------------------

    def select(self, keep: Tensor) -> Equilibrium | None:
        """The system of the samples ``keep``; None if A does not treat all samples alike."""
        cut = self.data.at(keep)
        if cut is None:
            return None

        def exact() -> Equilibrium | None:
            twin = self._exact()
            return None if twin is None else twin.select(keep)

        return Equilibrium(
            cut,
            self.field,
            self.alphas[keep],
            self._traits,
            gauge=self.gauge.select(keep),
            exact=exact,
        )
