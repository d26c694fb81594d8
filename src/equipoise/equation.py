"""The noun: ``grad_x D(A x, y) + alpha R(x) = 0`` as one object."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from deepinv.optim.data_fidelity import DataFidelity
from deepinv.physics import LinearPhysics
from torch import Tensor, nn

from equipoise.adjointness import Checked
from equipoise.bounds import Bound
from equipoise.circulant import FLOOR, LocalInverse, LocalKernels, local_inverse
from equipoise.conversion import in_double, in_precision
from equipoise.data_term import DataTerm
from equipoise.errors import InputError, UsageError
from equipoise.gauge import Gauge
from equipoise.measurements import check_measurements
from equipoise.modes import (
    HALF,
    in_own_precision,
    make_ordinary,
    ordinary,
    refuse_transforms,
    verb,
)
from equipoise.physics_state import State
from equipoise.portable import portable
from equipoise.regularizers.base import Constants, Regularizer, Traits
from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.linearization import Linearization
from equipoise.scales import gauge_of
from equipoise.stacked import joined, term_of
from equipoise.vectors import expand


@dataclass(frozen=True, eq=False)
class Equation:
    """The equilibrium equation of one batch of measurements.

    Formula: ``E(x) = grad_x D(A x, y) + alpha R(x)``, for the squared norm
    ``E(x) = A^T (A x - y) + alpha R(x)``.

    Args:
        physics: deepinv linear physics A.
        y: measurements, shape (B, ...), finite. What comes in half precision, from a physics under
            ``torch.autocast`` say, is solved in the dtype of R's parameters (float32 without any).
            A ``TensorList`` of several parts, as of ``deepinv.physics.stack``, becomes one tensor
            (B, n), and the physics one that gives it; data terms add.
        regularizer: the field R.
        alpha: regularisation strength, a positive number or tensor (0-d or one per sample); may
            require a gradient.
        data_fidelity: a deepinv data fidelity; None is ``deepinv.optim.L2()``.

    Raises:
        UsageError: if the physics is not linear or the regulariser is not a ``Regularizer``, or
            inside ``torch.func.grad``, ``torch.vmap`` and the like.
        InputError: if y is not finite, alpha not positive, or dtypes or devices do not match.
        AdjointError: if ``A_adjoint`` is not the adjoint of ``A`` (tried once per physics, state
            and image size).

    Physics, regulariser and data fidelity are held by reference, and what was found out about them
    is kept. If one is changed later (``physics.update(mask=...)``), whatever is begun with the
    equation refuses with an ``InputError``; a derivative that was attached before the change is
    computed in the old state.

    Evaluations (:meth:`residual`, :meth:`potential_and_residual`, :meth:`linearize`) build no
    graph and use constants folded once; :meth:`differentiable_residual` builds the graph through
    which parameters of R, alpha, y and the physics receive their gradients.

    Threads may share an equation. It can be copied and pickled where its parts can; what was
    computed of it is then computed again.
    """

    physics: LinearPhysics
    y: Tensor
    regularizer: Regularizer
    alpha: float | Tensor = 1.0
    data_fidelity: DataFidelity | None = None

    @verb
    def __post_init__(self) -> None:
        if not isinstance(self.physics, LinearPhysics):
            raise UsageError(
                f"The physics must be a deepinv LinearPhysics, got {type(self.physics).__name__}: "
                "the equation needs a linear A and its adjoint."
            )
        if not isinstance(self.regularizer, Regularizer):
            raise UsageError(
                "The regularizer must be an equipoise Regularizer; wrap a network N as "
                "equipoise.Residual(N), a deepinv prior as equipoise.from_deepinv(prior)."
            )
        self._settle()
        adjoint_data, known = check_measurements(self.physics, self.y)
        self.__dict__.update(_adjoint_data=adjoint_data, _checked_physics=known)
        alpha = self.alpha.detach() if isinstance(self.alpha, Tensor) else _number(self.alpha)
        if alpha.is_complex() or not bool((torch.isfinite(alpha) & (alpha > 0)).all()):
            raise InputError(
                f"alpha must be positive and finite, got {alpha.tolist()}. Where it is learned, "
                "lower the learning rate or learn its logarithm, as equipoise.Scaled does."
            )
        if alpha.dim() > 1 or (alpha.dim() == 1 and len(alpha) not in (1, len(self.y))):
            raise InputError(
                f"alpha must be one number or one number for each of {len(self.y)} samples, "
                f"got shape {tuple(alpha.shape)}."
            )
        held = {"y": self.y, "alpha": self.alpha, "data fidelity": self.data_fidelity}
        for name, module in self.regularizer.named_modules():
            held[f"regulariser {name}".strip()] = module._parameters
        self.__dict__.update(_held=State(held))

    # ---- changes -------------------------------------------------------------------------------

    def check_unchanged(self) -> None:
        """Refuse to go on if something the equation refers to has been changed since it was built.

        Called once by whatever is begun with an equation: a solve, a derivative, a bound.

        Raises:
            InputError: that says what has changed.
        """
        held: State = self.__dict__["_held"]
        if not held.holds():
            held.check_tensors()
            raise InputError(
                "Parameters of the regulariser, or the data fidelity, were replaced after the "
                "equation had been built: build a new Equation."
            )
        if not self._checked.holds():
            raise InputError(
                f"The physics ({type(self.physics).__name__}) was changed after the equation had "
                "been built (by physics.update, by a call with parameters or by a generator), so "
                "that its measurements and bounds belong to another operator: build a new "
                "Equation, and give equations that live side by side a physics each "
                "(physics.clone())."
            )

    def state(self, x: Tensor) -> State:
        """Everything that a derivative at x depends on, as it is now."""
        return State(
            {
                "x": x,
                "y": self.y,
                "alpha": self.alpha,
                "physics": self.physics,
                "regulariser": self.regularizer,
                "data fidelity": self.data_fidelity,
            }
        )

    @property
    def _checked(self) -> Checked:
        known: Checked = self.__dict__["_checked_physics"]
        return known

    def __getstate__(self) -> dict[str, Any]:
        made_of = {f.name: getattr(self, f.name) for f in fields(self)}
        return made_of | {"physics": portable(self.physics)}

    def __setstate__(self, made_of: dict[str, Any]) -> None:
        self.__dict__.update(made_of)
        self.__post_init__()

    def _settle(self) -> None:
        """Take y as one tensor, in the precision of R where it is half, and nothing that was made
        in inference mode."""
        parts = (self.physics, self.regularizer, self.data_fidelity)
        refuse_transforms(self.y, self.alpha, *parts)
        for part in parts:
            if isinstance(part, nn.Module):
                make_ordinary(part)
        alpha = self.alpha
        physics, y = joined(self.physics, self.y)
        if isinstance(y, Tensor):
            y = ordinary(y)
            if y.dtype in HALF:
                held = next(self.regularizer.parameters(), None)
                y = y.to(torch.float32 if held is None else held.dtype)
        if isinstance(alpha, Tensor):
            alpha = ordinary(alpha)
        self.__dict__.update(physics=physics, y=y, alpha=alpha)

    # ---- evaluation without a graph ------------------------------------------------------------

    @cached_property
    def data(self) -> DataTerm:
        """The data part of the equation."""
        with torch.no_grad():  # sigma of L2(sigma) may be learned
            return term_of(self.physics, self.y.detach(), self.data_fidelity)

    @cached_property
    def frozen(self) -> FrozenField:
        """The regulariser for its present parameters, without a graph."""
        return self.regularizer.frozen()

    @property
    def image_shape(self) -> torch.Size:
        """Shape (B, C, ...) of the unknown."""
        return self.adjoint_data.shape

    @property
    def adjoint_data(self) -> Tensor:
        """``A^T y``."""
        found: Tensor = self.__dict__["_adjoint_data"]
        return found

    @property
    def like(self) -> Tensor:
        """A tensor of shape, dtype and device of the unknown."""
        return self.adjoint_data

    @cached_property
    @in_own_precision
    def gauge(self) -> Gauge:
        """What residuals are measured by, see :func:`equipoise.scales.gauge_of`."""
        with torch.no_grad():
            return gauge_of(self.data, self.frozen, self.adjoint_data, self._alpha)

    @property
    def scale(self) -> Tensor:
        """What the size of a residual is relative to, shape (B,)."""
        return self.gauge.scale

    @in_own_precision
    def residual(self, x: Tensor) -> Tensor:
        """``E(x)``, shape of x."""
        with torch.no_grad():
            return self.data.gradient(x) + self._weighted(self.frozen.field(x))

    def exact_residual(self, x: Tensor) -> Tensor | None:
        """``E(x)`` of the same numbers in float64, which tells what rounding makes of it.

        None in float64, and where the physics, R or the data fidelity know no other precision.
        """
        twin = None if x.dtype == torch.float64 else self._in_double
        return None if twin is None else twin.residual(x.double())

    @cached_property
    def _in_double(self) -> Equation | None:
        shape = tuple(self.image_shape[1:])
        alpha, fidelity = self.alpha, self.data_fidelity
        try:
            twin = Equation(
                in_precision(self.physics, torch.float64, shape),
                in_double(self.y.detach()),
                deepcopy(self.regularizer).double(),
                alpha.detach().double() if isinstance(alpha, Tensor) else alpha,
                None if fidelity is None else deepcopy(fidelity).double(),
            )
            twin.residual(torch.zeros_like(twin.adjoint_data))
        except Exception:  # an operator of float32 alone may raise anything
            return None
        return twin

    @in_own_precision
    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``D(A x, y) + alpha r(x)``, shape (B,), and ``E(x)``; only for gradient fields."""
        with torch.no_grad():
            energy, slope = self.data.energy_and_gradient(x)
            value, field = self.frozen.potential_and_field(x)
            return energy + self._alpha(value) * value, slope + self._weighted(field)

    @in_own_precision
    def linearize(self, x: Tensor) -> Linearization:
        """``v -> J v`` and ``w -> J^T w`` with ``J = D'' + alpha J_R`` at x."""
        self.check_unchanged()
        with torch.no_grad():
            inner = self.frozen.linearize(x)
            curve = self.data.hessian(x)

        def add(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            @in_own_precision
            def total(v: Tensor) -> Tensor:
                with torch.no_grad():
                    return curve(v) + self._weighted(product(v))

            return total

        jvp = add(inner.jvp)
        vjp = jvp if inner.vjp is inner.jvp else add(inner.vjp)
        return Linearization(jvp, vjp)

    @verb
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
        with torch.no_grad():
            local = self.frozen.local_kernels(x)
            if local is None:
                return None
            local = local.times(self._folded_alpha(local))
            return local_inverse(local, self.data.multiplier(x), floor, self.data.row_norms(x))

    @in_own_precision
    def in_domain(self, x: Tensor) -> Tensor | None:
        """Boolean (B,), or None where the data fidelity is defined everywhere."""
        with torch.no_grad():
            return self.data.in_domain(x)

    # ---- evaluation with a graph ---------------------------------------------------------------

    @in_own_precision
    def differentiable_residual(self, x: Tensor, constants: Constants | None = None) -> Tensor:
        """``E(x)`` with a graph to R's parameters, alpha, y and the physics' own parameters.

        Args:
            x: the point, shape (B, C, ...); may itself require a gradient.
            constants: the regulariser's constants with a graph, where several evaluations share
                them (unrolling).
        """
        live = term_of(self.physics, self.y, self.data_fidelity)
        return live.gradient(x) + self._weighted(self.regularizer.field(x, constants))

    # ---- traits --------------------------------------------------------------------------------

    @cached_property
    @in_own_precision
    def traits(self) -> Traits:
        """The regulariser's traits for its present parameters."""
        self.check_unchanged()
        return self.regularizer.traits()

    @property
    def gradient_field(self) -> bool:
        """Whether E is the gradient of an energy, so that J is symmetric."""
        return self.regularizer.gradient_field

    @cached_property
    def modulus(self) -> Bound | None:
        """Strong monotonicity ``m = s_-^2 + alpha mu`` of E (theory, Prop 1(iii))."""
        mu = self.regularizer.modulus()
        if mu is None:
            return None
        low, _ = self._spectrum
        return low + mu.times(self._extreme_alpha(largest=mu.value < 0))

    @cached_property
    def lipschitz(self) -> Bound | None:
        """``L_E = s_+^2 + alpha L``."""
        bound = self.traits.lipschitz
        if bound is None:
            return None
        _, high = self._spectrum
        return high + bound.times(self._extreme_alpha(largest=True))

    @property
    def disc(self) -> bool:
        """Whether hypothesis (D) of the theory holds for R, hence for E."""
        return self.traits.disc

    @verb
    def resolvent(self) -> tuple[Callable[[Tensor], Tensor], float] | None:
        """``v -> (A^T A + c I)^{-1} v`` and its best c (theory, section 2), or None.

        ``c = alpha (mu + L) / 2`` where both constants are known, ``c = alpha`` otherwise.
        """
        alpha = self._extreme_alpha(largest=True)
        mu, high = self.traits.modulus, self.traits.lipschitz
        c = alpha if mu is None or high is None else 0.5 * alpha * (mu.value + high.value)
        inverse = self.data.shifted_inverse(c) if 0 < c < math.inf else None
        return None if inverse is None else (inverse, c)

    # ---- parts ---------------------------------------------------------------------------------

    def select(self, keep: Tensor) -> Equation | None:
        """The equation of the samples ``keep``; None if A does not treat all samples alike."""
        cut = self.data.at(keep)
        if cut is None:
            return None
        alpha = self.alpha
        if isinstance(alpha, Tensor):
            alpha = alpha.detach()
            alpha = alpha[keep] if alpha.dim() == 1 and len(alpha) > 1 else alpha
        cut.keep(self.data)
        smaller = object.__new__(type(self))  # some of what has been checked
        smaller.__dict__.update(
            physics=self.physics,
            y=cut.y,
            regularizer=self.regularizer,
            alpha=alpha,
            data_fidelity=self.data_fidelity,
            data=cut,
            frozen=self.frozen,
            gauge=self.gauge.select(keep),
            _adjoint_data=self.adjoint_data[keep],
            _checked_physics=self._checked,
            _held=self.__dict__["_held"],
        )
        self._hand_on(smaller)
        return smaller

    def with_measurements(self, y: Tensor) -> Equation:
        """The same equation for other measurements; what does not depend on y is kept.

        Args:
            y: measurements, shape (B', ...); may require a gradient. B' may differ from B where
                alpha is one number.
        """
        self.check_unchanged()
        other = replace(self, y=y)
        other.__dict__.update(frozen=self.frozen)
        self._hand_on(other)
        other.keep(self)
        return other

    def keep(self, other: Equation) -> None:
        """Take over what another equation has found out about the physics, if it is still the same.

        Args:
            other: an equation with the same physics; its y, R and alpha do not matter.
        """
        if other.physics is self.physics and other._checked.holds():
            self.data.keep(other.data)

    def _hand_on(self, other: Equation) -> None:
        """Give another equation with the same R what is already known of it."""
        if "traits" in self.__dict__:
            other.__dict__.update(traits=self.traits)

    @property
    @verb
    def _spectrum(self) -> tuple[Bound, Bound]:
        self.check_unchanged()
        with torch.no_grad():
            return self.data.spectrum

    def _alpha(self, like: Tensor) -> float | Tensor:
        """alpha, detached when no graph is wanted, ready to multiply (B,) or (B, ...) tensors."""
        if not isinstance(self.alpha, Tensor):
            return self.alpha
        alpha = self.alpha.to(device=like.device, dtype=like.dtype)
        return expand(alpha, like) if alpha.dim() == 1 and len(alpha) > 1 else alpha

    def _weighted(self, field: Tensor) -> Tensor:
        return self._alpha(field) * field

    def _folded_alpha(self, local: LocalKernels) -> Tensor | float:
        """alpha for kernels whose first axis runs over samples and groups of channels."""
        alpha = self._alpha(local.kernels.new_empty(len(self.y)))
        if not isinstance(alpha, Tensor) or alpha.dim() == 0:
            return alpha
        groups = len(local.kernels) // len(self.y)
        return expand(alpha.expand(len(self.y)).repeat_interleave(groups), local.kernels)

    def _extreme_alpha(self, largest: bool) -> float:
        if not isinstance(self.alpha, Tensor):
            return float(self.alpha)
        alpha = self.alpha.detach()
        return float(alpha.max() if largest else alpha.min())


def _number(alpha: object) -> Tensor:
    if not isinstance(alpha, Real):
        raise InputError(
            f"alpha must be a positive number or a tensor, got {type(alpha).__name__}."
        )
    return torch.tensor(float(alpha), dtype=torch.float64)
