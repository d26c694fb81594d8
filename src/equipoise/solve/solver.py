"""What an algorithm is to the loop: a start, a step, and a state with the batch axis first."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from equipoise.errors import HypothesisError
from equipoise.solve.system import System


@dataclass
class State:
    """Where an algorithm stands. Every tensor has the batch axis first.

    A step may consume the state that it starts from (write into its memory of earlier steps): go
    on from the newest one only.

    Args:
        x: current iterate, shape (B, ...).
        e: ``E(x)``, same shape.
        evaluations: evaluations of E spent on each sample so far, integer (B,).
        failed: boolean (B,): the algorithm knows that it cannot improve this sample.
    """

    x: Tensor
    e: Tensor
    evaluations: Tensor
    failed: Tensor


@dataclass
class TrialState(State):
    """The state of an algorithm that tries points.

    Args:
        rejections: trial points refused in a row, integer (B,).
    """

    rejections: Tensor


@runtime_checkable
class Selectable(Protocol):
    """A part of a state that is no tensor but has samples all the same."""

    def select(self, keep: Tensor) -> Any:
        """The part of the samples ``keep`` (indices)."""


S = TypeVar("S", bound=State)


class Solver(ABC, Generic[S]):
    """An algorithm for ``E(x) = 0`` with states of the type S.

    Concrete ones are frozen dataclasses of their options.
    """

    #: Name under which users ask for the algorithm.
    name: ClassVar[str]
    #: Whether the algorithm needs E to be a gradient field with a potential.
    needs_potential: ClassVar[bool] = False

    @abstractmethod
    def start(self, system: System, x: Tensor) -> S:
        """Evaluate E at the starting point and set up the state."""

    @abstractmethod
    def step(self, system: System, state: S) -> S:
        """Take one step for all samples; may not synchronise with the host."""

    def describe(self, state: S) -> str:
        """What reports call the algorithm as it ran."""
        return self.name

    def require(self, system: System) -> None:
        """Refuse a system that does not meet the algorithm's hypotheses.

        Raises:
            HypothesisError: if a hypothesis is not met; the message names it.
        """
        if self.needs_potential and not system.gradient_field:
            raise HypothesisError(
                f"{self.name} minimises a potential, but this R is not a gradient field: "
                "use anderson, fixed_point or resolvent."
            )


def select_state(state: S, keep: Tensor) -> S:
    """Keep some of the samples of a state (indices into the batch axis)."""
    cut: dict[str, Any] = {}
    for f in dataclasses.fields(state):
        value = getattr(state, f.name)
        if isinstance(value, Tensor):
            cut[f.name] = value[keep]
        elif isinstance(value, Selectable):
            cut[f.name] = value.select(keep)
    return dataclasses.replace(state, **cut)


def fresh_trials(x: Tensor, e: Tensor) -> dict[str, Tensor]:
    """The fields of a new :class:`TrialState`."""
    evaluations, failed = fresh_counters(x)
    rejections = torch.zeros_like(evaluations)
    counters = {"evaluations": evaluations, "failed": failed, "rejections": rejections}
    return {"x": x, "e": e, **counters}


def fresh_counters(x: Tensor) -> tuple[Tensor, Tensor]:
    """Counters of a new state: evaluations (all 1) and failed (all false)."""
    evaluations = torch.ones(len(x), dtype=torch.int64, device=x.device)
    return evaluations, torch.zeros_like(evaluations, dtype=torch.bool)
