"""The one loop that every algorithm runs in: tests, statuses, per-sample stopping."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from equipoise.bounds import inflate
from equipoise.checks import require_count, require_like, require_positive
from equipoise.errors import InputError
from equipoise.gauge import Gauge
from equipoise.modes import verb
from equipoise.solve.choice import default_solver
from equipoise.solve.rounding import Rounding
from equipoise.solve.solver import Solver, State, select_state
from equipoise.solve.system import Guarded, System
from equipoise.status import Solution, Status
from equipoise.threads import give_way
from equipoise.vectors import expand, looks, norm, where

#: A residual this many times larger than at the start (or than the scale) counts as divergence,
#: at once or when the patience or the evaluations run out.
DIVERGENCE, GROWTH = 1e4, 2.0
#: A residual that has not fallen by this factor within the patience counts as stagnation.
PROGRESS = 0.99
#: Share of the tolerance up to which rounding is not worth an evaluation at once: the next step
#: lowers the residual by more, and costs less. A sample still in doubt after it is looked at.
DOUBT = 0.3
#: Points at which that may be tried: a sample whose residual meets the tolerance in vain so often
#: has stagnated.
TRIES = 8
#: Bounds allow so many times the estimate of rounding, which is statistical.
CAUTION = 2.0
#: Length of the step, in shares of the largest value, that finds the edge of a domain nearby.
EDGE = 1e-3


@verb
def solve(
    system: System,
    x0: Tensor,
    solver: Solver | None = None,
    *,
    tolerance: float = 2e-4,
    max_evaluations: int = 1000,
    patience: int = 250,
    check_every: int | None = None,
    history: bool = False,
) -> Solution:
    """Solve ``E(x) = 0`` for a batch; every sample stops by itself.

    A sample has converged when ``size(E(x)) + slack <= tolerance * scale``, with sizes and scale of
    the system's gauge and a slack for the rounding of E. Samples that finished are taken out of the
    batch where the system can be cut. Of a sample that fails, the iterate with the smallest
    residual is returned.

    Args:
        system: the equation.
        x0: starting point: shape, dtype and device of the unknown, finite.
        solver: the algorithm; by default the one that suits the system's traits.
        tolerance: relative tolerance on the residual, positive and finite.
        max_evaluations: limit of evaluations of E per sample, at least 1.
        patience: evaluations without progress of the residual after which a sample has stagnated,
            at least 1.
        check_every: steps between two looks at the residual, at least 1 (each one synchronises
            with the device); by default 1 on the CPU and 4 elsewhere.
        history: whether to keep the relative residual at every check.

    Returns:
        A :class:`Solution`; never raises for lack of convergence, see ``Solution.check``.

    Raises:
        HypothesisError: if the solver's hypotheses are not met.
        InputError: if a number is out of its range, or x0 does not fit or is not finite, or if
            what the system refers to has been changed since it was built.
    """
    require_positive("tolerance", tolerance)
    for name, count in (("max_evaluations", max_evaluations), ("patience", patience)):
        require_count(name, count)
    if check_every is not None:
        require_count("check_every", check_every)
    require_like("x0", x0, system.like, "the images")
    if not bool(torch.isfinite(x0).all()):
        raise InputError("x0 has values that are NaN or infinite; start from finite images.")
    if isinstance(system, Guarded):
        system.check_unchanged()
    chosen = default_solver(system) if solver is None else solver
    chosen.require(system)
    stride = check_every or (1 if x0.device.type == "cpu" else 4)
    started = time.perf_counter()
    give_way()
    with torch.no_grad():
        start = x0.detach().clone()  # the result is never the caller's tensor
        run = _Run(system, chosen, start, tolerance, max_evaluations, patience, history)
        while run.active:
            for _ in range(stride):
                run.state = chosen.step(run.system, run.state)
            run.check()
        book = run.closed()
        edge = _at_edge(system, book)
    return Solution(
        x=book.x,
        residual=book.residual,
        scale=run.full_gauge.scale,
        tolerance=tolerance,
        evaluations=book.evaluations,
        status=book.status,
        seconds=time.perf_counter() - started,
        solver=chosen.describe(run.state),
        error_bound=_error_bound(system, book.length + CAUTION * book.rounding),
        rounding=book.rounding,
        terms=run.full_gauge.terms,
        edge=edge,
        history=torch.stack(run.residuals) if history else None,
        history_evaluations=torch.stack(run.spent) if history else None,
    )


@dataclass
class _Book:
    """The best that is known of some samples; tensors are replaced and never written into."""

    x: Tensor
    residual: Tensor
    length: Tensor
    rounding: Tensor
    evaluations: Tensor
    status: Tensor

    def select(self, keep: Tensor) -> _Book:
        """What is known of the samples ``keep`` (indices)."""
        return _Book(*(getattr(self, each.name)[keep] for each in fields(self)))

    def with_rows(self, rows: Tensor, part: _Book) -> _Book:
        """The same with what is newly known of the samples ``rows``."""
        pairs = ((getattr(self, each.name), getattr(part, each.name)) for each in fields(self))
        return _Book(*(known.index_copy(0, rows, new) for known, new in pairs))


class _Run:
    """One solve in progress: the current (possibly cut) system with the book of its samples."""

    def __init__(
        self,
        system: System,
        solver: Solver,
        x0: Tensor,
        tolerance: float,
        max_evaluations: int,
        patience: int,
        history: bool,
    ) -> None:
        self.system, self.tolerance = system, tolerance
        self.max_evaluations, self.patience, self.history = max_evaluations, patience, history
        self.state: State = solver.start(system, x0)
        self.gauge: Gauge = system.gauge
        self.full_gauge = self.gauge
        residual = self.gauge.size(self.state.e)
        self.large = torch.maximum(residual, self.gauge.scale)
        self.marker = residual.clone()
        self.marker_at = self.state.evaluations.clone()
        self.rounding = Rounding.at(self.state)
        self.rows = torch.arange(len(x0), device=x0.device)
        running = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
        endless = torch.full_like(residual, torch.inf)
        self.book = _Book(x0, endless, endless, endless, self.state.evaluations, running)
        self.full = self.book
        self.residuals: list[Tensor] = []
        self.spent: list[Tensor] = []
        self.active = True
        self.bounded = system.in_domain(x0) is not None
        self.check()

    def check(self) -> None:
        """Judge every running sample, write the book, and cut the batch if that saves work."""
        state, residual = self.state, self.gauge.size(self.state.e)
        self.rounding.see(state, self.gauge)
        improved = residual < PROGRESS * self.marker
        self.marker = torch.where(improved, residual, self.marker)
        self.marker_at = torch.where(improved, state.evaluations, self.marker_at)
        book, open_ = self.book, self.book.status == Status.RUNNING
        if self._calm(state, residual):
            self._note(residual, open_ & (residual < book.residual))
            return
        slack = self._slack(state, residual, open_)
        status = self._judge(state, residual, slack)
        inside = status != Status.OUT_OF_DOMAIN
        better = open_ & inside & ((residual < book.residual) | (status == Status.CONVERGED))
        self._note(residual, better)
        earlier = self.rounding.guess(self.gauge, norm(book.x))
        rounding = torch.where(better, slack, earlier)
        book.rounding = torch.where(open_, rounding, book.rounding)
        book.evaluations = torch.where(open_, state.evaluations, book.evaluations)
        book.status = torch.where(open_, status, book.status)
        if self.history:
            known = self.closed()
            self.residuals.append(known.residual / self.full_gauge.scale)
            self.spent.append(known.evaluations)
        keep = (book.status == Status.RUNNING).nonzero().squeeze(1)
        self.active = len(keep) > 0  # the one synchronisation with the device
        if self.active and self._worth_cutting(len(keep)):
            self._cut(keep)

    def closed(self) -> _Book:
        """What is known of all samples, those included that were cut out."""
        return self.book if self.full is self.book else self.full.with_rows(self.rows, self.book)

    def _calm(self, state: State, residual: Tensor) -> bool:
        """Whether it is plain that no sample ends here; not asked where looking costs time."""
        if self.history or self.bounded or not looks(residual):
            return False
        plain = (residual > self.tolerance * self.gauge.scale) & ~state.failed
        plain &= residual <= DIVERGENCE * self.large
        spent, tired = self._at_limits(state)
        return bool((plain & ~(spent | tired)).all())

    def _note(self, residual: Tensor, better: Tensor) -> None:
        """Write the present points of some samples, boolean (B,), into the book."""
        state, book = self.state, self.book
        if looks(better) and bool(better.all()):
            book.x, book.residual = state.x, residual
        else:
            book.x = where(better, state.x, book.x)
            book.residual = torch.where(better, residual, book.residual)
        if self.gauge.weights is None:
            book.length = book.residual
        else:
            book.length = torch.where(better, norm(state.e), book.length)

    def _slack(self, state: State, residual: Tensor, running: Tensor) -> Tensor:
        """What rounding may add to the residuals; measured where they would pass without it."""
        goal, slack = self.tolerance * self.gauge.scale, self.rounding.slack(self.gauge)
        short = running & (residual <= goal) & (residual + slack > goal) & ~self.rounding.measured
        spent, tired = self._at_limits(state)
        last = spent | tired | state.failed
        chosen = short & (last | self.rounding.doubted | (slack > DOUBT * goal))
        self.rounding.doubted = short
        if bool(chosen.any()):
            self.rounding.measure(self.system, state, self.gauge, chosen)
            slack = self.rounding.slack(self.gauge)
        return slack

    def _judge(self, state: State, residual: Tensor, slack: Tensor) -> Tensor:
        status = torch.full_like(state.evaluations, Status.RUNNING)
        goal = self.tolerance * self.gauge.scale

        def mark(condition: Tensor, code: Status) -> None:
            """Later marks win: the order of the calls is the precedence of the statuses."""
            status.masked_fill_(condition, int(code))

        spent, tired = self._at_limits(state)
        # What rounding adds keeps the residual above the goal.
        blurred = self.rounding.measured & ((slack >= goal) | (self.rounding.tries >= TRIES))
        mark(spent, Status.ITERATION_LIMIT)
        mark(state.failed | tired | blurred, Status.STAGNATED)
        mark((spent | tired) & (residual > GROWTH * self.large), Status.DIVERGED)
        mark(~(residual <= DIVERGENCE * self.large), Status.DIVERGED)
        inside = self.system.in_domain(state.x)
        solved = torch.isfinite(residual) & (residual + slack <= goal)
        if inside is not None:
            mark(~inside, Status.OUT_OF_DOMAIN)
            solved = solved & inside
        mark(solved, Status.CONVERGED)
        return status

    def _at_limits(self, state: State) -> tuple[Tensor, Tensor]:
        """Whether the evaluations are spent, and the patience is, both boolean (B,)."""
        spent = state.evaluations >= self.max_evaluations
        return spent, state.evaluations - self.marker_at > self.patience

    def _worth_cutting(self, left: int) -> bool:
        """On the CPU every sample costs; elsewhere new shapes cost, so only halves are cut."""
        if self.rows.device.type == "cpu":
            return left < len(self.rows)
        return 2 * left <= len(self.rows)

    def _cut(self, keep: Tensor) -> None:
        cut = self.system.select(keep)
        if cut is None:
            return
        self.full = self.closed()
        self.system, self.state = cut, select_state(self.state, keep)
        self.book = self.book.select(keep)
        self.rows, self.large = self.rows[keep], self.large[keep]
        self.gauge, self.rounding = self.gauge.select(keep), self.rounding.select(keep)
        self.marker, self.marker_at = self.marker[keep], self.marker_at[keep]


def _at_edge(system: System, book: _Book) -> Tensor | None:
    """Where a small step against the residual leaves the domain, of samples that stagnated."""
    stagnated = book.status == Status.STAGNATED
    x = book.x
    if system.in_domain(x) is None or not bool(stagnated.any()):
        return None
    e = system.residual(x)
    large, steep = (v.abs().flatten(1).amax(1) for v in (x, e))
    inside = system.in_domain(x - expand(EDGE * large / steep, e) * e)
    return None if inside is None else stagnated & ~inside


def _error_bound(system: System, residual: Tensor) -> Tensor | None:
    """``||E(x)|| / m`` where E is proved to be strongly monotone (theory, section 2).

    Args:
        system: the equation.
        residual: norm of E(x), with an allowance for its rounding, shape (B,).
    """
    modulus = system.modulus
    if modulus is None or not modulus.proved or not modulus.value > 0:
        return None
    return residual * (inflate(1.0) / modulus.value)
