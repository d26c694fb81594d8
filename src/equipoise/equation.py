"""The noun: ``grad_x D(A x, y) + alpha R(x) = 0`` as one object."""

from __future__ import annotations

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
from equipoise.conversion import in_double, in_precision
from equipoise.equilibrium import Equilibrium
from equipoise.errors import InputError, UsageError
from equipoise.gram import Gram
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
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.stacked import joined, term_of
from equipoise.vectors import expand


@dataclass(frozen=True, eq=False)
class Equation(Equilibrium):
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
        like, known = check_measurements(self.physics, self.y)
        self.__dict__["_checked_physics"] = known
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
        self.__dict__["_held"] = State(held)
        with torch.no_grad():  # sigma of L2(sigma) may be learned
            data = term_of(self.physics, self.y.detach(), self.data_fidelity)
        data.gram = Gram(self.physics, like, data.y)
        super().__init__(
            data,
            self.regularizer.frozen(),
            self._alphas(like).detach(),
            self.regularizer.traits(),
            exact=lambda: self._in_double,
        )

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

    def _alphas(self, like: Tensor) -> Tensor:
        """alpha of each sample, shape (B,), with its graph."""
        alpha = torch.as_tensor(self.alpha, dtype=like.dtype, device=like.device)
        return alpha.expand(len(self.y))

    @property
    def image_shape(self) -> torch.Size:
        """Shape (B, C, ...) of the unknown."""
        return self.like.shape

    @property
    def adjoint_data(self) -> Tensor:
        """``A^T y``."""
        return self.like

    @cached_property
    def _in_double(self) -> Equilibrium | None:
        alpha, fidelity = self.alpha, self.data_fidelity
        try:
            return Equation(
                in_precision(self.physics, torch.float64, tuple(self.image_shape[1:])),
                in_double(self.y.detach()),
                deepcopy(self.regularizer).double(),
                alpha.detach().double() if isinstance(alpha, Tensor) else alpha,
                None if fidelity is None else deepcopy(fidelity).double(),
            )
        except Exception:  # an operator of float32 alone may raise anything
            return None

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
        value = self.regularizer.field(x, constants)
        return live.gradient(x) + expand(self._alphas(x), value) * value

    # ---- other measurements --------------------------------------------------------------------

    def with_measurements(self, y: Tensor) -> Equation:
        """The same equation for other measurements; what does not depend on y is kept.

        Args:
            y: measurements, shape (B', ...); may require a gradient. B' may differ from B where
                alpha is one number.
        """
        self.check_unchanged()
        other = replace(self, y=y)
        other.__dict__.update(field=self.field, _traits=self._traits)
        other.keep(self)
        return other

    def keep(self, other: Equation) -> None:
        """Take over what another equation has found out about the physics, if it is still the same.

        Args:
            other: an equation with the same physics; its y, R and alpha do not matter.
        """
        if other.physics is self.physics and other._checked.holds():
            self.data.keep(other.data)


def _number(alpha: object) -> Tensor:
    if not isinstance(alpha, Real):
        raise InputError(
            f"alpha must be a positive number or a tensor, got {type(alpha).__name__}."
        )
    return torch.tensor(float(alpha), dtype=torch.float64)
