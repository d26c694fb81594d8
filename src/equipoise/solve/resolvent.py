"""The resolvent step ``x <- P_c(x)``, for physics that can be inverted exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from equipoise.errors import HypothesisError, UsageError
from equipoise.solve.solver import Solver, State, fresh_counters
from equipoise.solve.system import System


@dataclass
class ResolventState(State):
    """State of :class:`Resolvent`; ``inverse`` is ``v -> (G + c I)^{-1} v``."""

    inverse: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Resolvent(Solver[ResolventState]):
    """Iterate ``x <- x - t (G + c I)^{-1} E(x)``; for t = 1 this is ``P_c`` (theory, section 2).

    A contraction where R is a contractive residual or strongly monotone and Lipschitz, with a
    factor that does not depend on the norm of the physics.

    Args:
        relaxation: t in (0, 2); below 1 it damps maps that are not contractive.

    Raises:
        UsageError: if the relaxation is outside (0, 2).
    """

    name: ClassVar[str] = "resolvent"
    relaxation: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.relaxation < 2:
            raise UsageError(f"relaxation must lie between 0 and 2, got {self.relaxation}.")

    def require(self, system: System) -> None:
        """Refuse a system whose physics cannot be inverted exactly.

        Raises:
            HypothesisError: naming solvers that do without.
        """
        if system.resolvent() is None:
            raise HypothesisError(
                "resolvent needs a physics whose Gram matrix can be inverted exactly (denoising, "
                "masks, circular blur; squared-norm data fidelity): use lbfgs for gradient "
                "fields, anderson or fixed_point otherwise."
            )

    def start(self, system: System, x: Tensor) -> ResolventState:
        """Evaluate at x and keep the inverse."""
        found = system.resolvent()
        assert found is not None, "require() comes before start()"
        evaluations, failed = fresh_counters(x)
        return ResolventState(x, system.residual(x), evaluations, failed, found[0])

    def step(self, system: System, state: ResolventState) -> ResolventState:
        """Apply the map once."""
        x = state.x - self.relaxation * state.inverse(state.e)
        return replace(state, x=x, e=system.residual(x), evaluations=state.evaluations + 1)
