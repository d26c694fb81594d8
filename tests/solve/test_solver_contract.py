"""The contract: every solver keeps it, users' own ones can, and wrong ones are named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from equipoise.errors import HypothesisError
from equipoise.solve import SOLVERS, Anderson, FixedPoint, Solver, State, System
from equipoise.solve.solver import fresh_counters
from equipoise.testing import check_solver


class Plain(Solver[State]):
    """A user's own solver: steps of a tenth of the residual."""

    name: ClassVar[str] = "plain"

    def start(self, system: System, x: Tensor) -> State:
        return State(x, system.residual(x), *fresh_counters(x))

    def step(self, system: System, state: State) -> State:
        x = state.x - 0.1 * state.e
        return replace(state, x=x, e=system.residual(x), evaluations=state.evaluations + 1)


OWN_OPTIONS = [Plain(), FixedPoint(step_size=0.1), Anderson(memory=1)]


@pytest.mark.parametrize(
    "solver", [*(cls() for cls in SOLVERS.values()), *OWN_OPTIONS], ids=lambda s: s.name
)
@pytest.mark.parametrize("seed", [0, 1])
def test_solvers_keep_the_contract(solver: Solver, seed: int) -> None:
    check_solver(solver, seed)


class Willing(Plain):
    """Needs a potential, but refuses nothing."""

    needs_potential: ClassVar[bool] = True

    def require(self, system: System) -> None:
        pass


class Refusing(Plain):
    """Is content with nothing."""

    def require(self, system: System) -> None:
        raise HypothesisError("No.")


class Certified(Plain):
    """Asks for constants, which is anybody's right."""

    def require(self, system: System) -> None:
        if system.modulus is None:
            raise HypothesisError("certified needs a modulus.")


class Elsewhere(Plain):
    def start(self, system: System, x: Tensor) -> State:
        return super().start(system, 0.9 * x)


class Stale(Plain):
    """Shows the residual of the last point."""

    def step(self, system: System, state: State) -> State:
        return replace(super().step(system, state), e=state.e)


class Uncounted(Plain):
    def step(self, system: System, state: State) -> State:
        system.residual(state.x)
        return super().step(system, state)


class Fractions(Plain):
    """Counts in floating-point numbers."""

    def start(self, system: System, x: Tensor) -> State:
        state = super().start(system, x)
        return replace(state, evaluations=state.evaluations.double())


class OneNumber(Plain):
    """One residual for the whole batch."""

    def step(self, system: System, state: State) -> State:
        new = super().step(system, state)
        return replace(new, e=new.e.mean(0))


class Mixing(Plain):
    """The step depends on who else is in the batch."""

    def step(self, system: System, state: State) -> State:
        x = state.x - 0.1 * state.e / (1.0 + 1e-3 * state.e.abs().mean())
        return replace(state, x=x, e=system.residual(x), evaluations=state.evaluations + 1)


@dataclass
class Listing(State):
    past: list[Tensor]


class Hidden(Solver[Listing]):
    """Keeps a tensor of all samples where it cannot be cut."""

    name: ClassVar[str] = "hidden"

    def start(self, system: System, x: Tensor) -> Listing:
        e = system.residual(x)
        return Listing(x, e, *fresh_counters(x), [e])

    def step(self, system: System, state: Listing) -> Listing:
        x = state.x - 0.05 * (state.e + state.past[0])
        e = system.residual(x)
        return replace(state, x=x, e=e, evaluations=state.evaluations + 1, past=[e])


class Impatient(Plain):
    """Gives up on what it could solve."""

    def step(self, system: System, state: State) -> State:
        new = super().step(system, state)
        return replace(new, failed=new.evaluations > 40)


class Lying(Plain):
    """Says in the end that the residual is small."""

    def step(self, system: System, state: State) -> State:
        new = super().step(system, state)
        return replace(new, e=new.e * (new.evaluations < 40).unsqueeze(1))


class Nameless(Plain):
    def describe(self, state: State) -> str:
        return "gradient descent"


class Widening(Plain):
    def step(self, system: System, state: State) -> State:
        new = super().step(system, state)
        return replace(new, e=new.e.double())


class Unstable(Plain):
    """Steps that float32 does not survive."""

    def step(self, system: System, state: State) -> State:
        x = state.x - (0.1 if state.x.dtype == torch.float64 else 1.0) * state.e
        return replace(state, x=x, e=system.residual(x), evaluations=state.evaluations + 1)


@pytest.mark.parametrize(
    ("solver", "words"),
    [
        (Willing(), "without potential is not refused"),
        (Refusing(), "are refused"),
        (Elsewhere(), "begins elsewhere"),
        (Stale(), r"e is not E\(x\) after step 1"),
        (Uncounted(), r"evaluations are \[2, 2, 2, 2\], but there were \[3"),
        (Fractions(), "whole and boolean"),
        (OneNumber(), "e has shape"),
        (Mixing(), "go another way"),
        (Hidden(), "cannot go on"),
        (Impatient(), "not solved .*STAGNATED"),
        (Lying(), "CONVERGED is claimed"),
        (Nameless(), "describe"),
        (Widening(), "a step in float32"),
        (Unstable(), "out of float32's reach.*DIVERGED and not STAGNATED"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Solver) else "",
)
def test_broken_clauses_are_named(solver: Solver, words: str) -> None:
    with pytest.raises(AssertionError, match=f"Solver contract: (?s:.*)({words})"):
        check_solver(solver)


def test_systems_that_a_solver_refuses_are_left_out() -> None:
    check_solver(Certified())
