"""The loop's judgement of residuals that are written down, evaluation by evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from systems import DenseSystem, random_system
from torch import Tensor

from equipoise.solve import Solver, State, System, solve
from equipoise.solve.rounding import Rounding
from equipoise.solve.solver import fresh_counters
from equipoise.status import Solution, Status

#: Relative residual at every evaluation; the last one stays. The scales differ by sample.
SCRIPTS: dict[str, tuple[float, list[float], Status]] = {
    "converges at once": (3.0, [1.0, 1e-9], Status.CONVERGED),
    "never moves": (1.0, [1.0], Status.STAGNATED),
    "moves late": (7.0, [1.0] * 5 + [0.5], Status.STAGNATED),
    "moves too little": (1.0, [1.0 - 1e-4 * k for k in range(90)], Status.STAGNATED),
    "creeps": (0.1, [0.98**k for k in range(90)], Status.ITERATION_LIMIT),
    "falls and rises": (1.0, [1.0, 1e-2, 1e-3, 0.5], Status.STAGNATED),
    "rises from a small start": (1.0, [1e-3, 1e-2, 1e-1, 1.5], Status.STAGNATED),
    "grows": (2.0, [1.0, 2.5], Status.DIVERGED),
    "grows from a large start": (1.0, [50.0, 1e4, 4e5, 0.9e-6], Status.CONVERGED),
    "explodes": (5.0, [1.0, 10.0, 2e4, 1e-9], Status.DIVERGED),
    "explodes from a large start": (1.0, [50.0, 1e5, 6e5, 1e-9], Status.DIVERGED),
    "is lost": (1.0, [1.0, float("nan"), 1e-9], Status.DIVERGED),
    "converges late": (4.0, [1.0, 0.5, 0.3, 0.1, 1e-2, 1e-4, 0.99e-6], Status.CONVERGED),
    "just above": (1.0, [1.0, 1.01e-6], Status.STAGNATED),
    "leaves": (2.0, [1.0, 0.5, 0.1], Status.OUT_OF_DOMAIN),
    "leaves for the solution": (1.0, [1.0, 0.5, 1e-9], Status.OUT_OF_DOMAIN),
}
#: The evaluation at which E is not defined; the residual there does not count.
OUTSIDE = {"leaves": 2, "leaves for the solution": 2}
PATIENCE, LIMIT, TOLERANCE = 12, 60, 1e-6


@dataclass
class Written(DenseSystem):
    """Every sample has a script and a scale of its own; x is the number of the evaluation."""

    table: Tensor = None  # type: ignore[assignment]
    sizes: Tensor = None  # type: ignore[assignment]
    outside: Tensor = None  # type: ignore[assignment]

    @property
    def scale(self) -> Tensor:
        return self.sizes[self.rows]

    def residual(self, x: Tensor) -> Tensor:
        number = x[:, 0].long().clamp_max(self.table.shape[1] - 1)
        return torch.zeros_like(x).index_copy_(
            1, torch.tensor([1]), (self.scale * self.table[self.rows, number]).unsqueeze(1)
        )

    def in_domain(self, x: Tensor) -> Tensor | None:
        return x[:, 0] != self.outside[self.rows]


class Reader(Solver):
    """Goes to the next evaluation."""

    name: ClassVar[str] = "reader"

    def start(self, system: System, x: Tensor) -> State:
        return State(x, system.residual(x), *fresh_counters(x))

    def step(self, system: System, state: State) -> State:
        x = state.x + 1.0
        return replace(state, x=x, e=system.residual(x), evaluations=state.evaluations + 1)


def written(names: list[str]) -> Written:
    longest = max(len(SCRIPTS[name][1]) for name in names)
    rows = [SCRIPTS[name][1] for name in names]
    base = random_system(batch=len(names), n=2, p=2, k=2)
    return Written(
        base.A,
        base.y,
        base.W,
        table=torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows]).double(),
        sizes=torch.tensor([SCRIPTS[name][0] for name in names]).double(),
        outside=torch.tensor([OUTSIDE.get(name, -1) for name in names]),
    )


def judged(names: list[str], **options: int) -> Solution:
    start = torch.zeros(len(names), 2, dtype=torch.float64)
    return solve(
        written(names),
        start,
        Reader(),
        tolerance=TOLERANCE,
        max_evaluations=LIMIT,
        patience=PATIENCE,
        **options,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_statuses(name: str) -> None:
    solution = judged([name])
    assert solution.statuses == [SCRIPTS[name][2]]
    script = torch.tensor(SCRIPTS[name][1])
    seen = script[: OUTSIDE.get(name, int(solution.evaluations))]
    best = float(seen[torch.isfinite(seen)].min())
    assert float(solution.relative_residual) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "evaluations"),
    [
        ("converges at once", 2),
        ("converges late", 7),
        ("never moves", 1 + PATIENCE + 1),
        ("moves late", 6 + PATIENCE + 1),
        ("falls and rises", 3 + PATIENCE + 1),
        ("creeps", LIMIT),
        ("explodes", 3),
        ("is lost", 2),
        ("grows", 1 + PATIENCE + 1),
    ],
)
def test_every_sample_ends_at_the_evaluation_that_decides(name: str, evaluations: int) -> None:
    assert int(judged([name]).evaluations) == evaluations


@pytest.mark.parametrize("order", [1, -1, 5])
def test_samples_are_judged_by_their_own_past_while_others_are_taken_out(order: int) -> None:
    names = list(SCRIPTS)[::order] if order < 5 else sorted(SCRIPTS, key=lambda n: n[::-1])
    together = judged(names)
    for place, name in enumerate(names):
        alone = judged([name])
        assert together.statuses[place] == alone.statuses[0], name
        assert int(together.evaluations[place]) == int(alone.evaluations), name
        assert torch.equal(together.x[place], alone.x[0]), name
        assert torch.equal(together.residual[place], alone.residual[0]), name


@pytest.mark.parametrize(
    ("share", "then", "limit", "measured_at"),
    [
        (0.1, 0.5e-6, LIMIT, []),  # the next step settles it
        (0.1, 0.95e-6, LIMIT, [3]),  # it does not
        (0.1, 0.5e-6, 2, [2]),  # there is no next step
        (0.5, 0.5e-6, LIMIT, [2]),  # nor would one help
    ],
)
def test_rounding_is_looked_at_where_the_next_step_will_not_settle_it(
    monkeypatch: pytest.MonkeyPatch, share: float, then: float, limit: int, measured_at: list[int]
) -> None:
    monkeypatch.setitem(SCRIPTS, "in doubt", (2.0, [1.0, 0.95e-6, then], Status.CONVERGED))
    system = written(["in doubt"])
    slack = share * TOLERANCE * system.scale
    monkeypatch.setattr(Rounding, "guess", lambda *_: slack)
    seen: list[int] = []

    def measure(self: Rounding, _: System, state: State, gauge: object, chosen: Tensor) -> None:
        seen.append(int(state.evaluations))
        self.bend = torch.where(chosen, 0.0, self.bend)

    monkeypatch.setattr(Rounding, "measure", measure)
    start = torch.zeros(1, 2, dtype=torch.float64)
    solution = solve(system, start, Reader(), tolerance=TOLERANCE, max_evaluations=limit)
    assert solution.statuses == [Status.CONVERGED]
    assert seen == measured_at
