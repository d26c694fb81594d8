"""The one loop of the linear solvers: per-sample stopping, verified residuals, statuses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.checks import require_like
from equipoise.errors import InputError
from equipoise.linear.process import Process, Product
from equipoise.modes import verb
from equipoise.status import LinearSolution, Status
from equipoise.vectors import expand, norm, where

#: A run that ended short of the tolerance must have reduced the true residual to this share.
PROGRESS = 0.99
#: The same for a run whose recurrence claims the tolerance: less means the floating-point floor.
PROGRESS_OF_CLAIM = 0.5
#: A run aims at least this low, relative to where it starts, so that a claim has room for rounding.
AIM = 0.25
#: Steps between looks at the true residual within a run, and the ratio of it to the recurrence's
#: beyond which the recurrence is not believed any more.
VERIFY_EVERY, DRIFT = 50, 2.0


@verb
def solve_by_restarts(
    begin: Callable[[Product, Tensor], Process],
    apply: Product,
    b: Tensor,
    x0: Tensor | None,
    *,
    tolerance: float,
    max_products: int,
    name: str,
) -> LinearSolution:
    """Solve ``J x = b``: run the method on ``J u = r / ||r||``, verify, repeat on what is left.

    A run ends for a sample when its recurrence claims the tolerance or proves untrue, when the
    method breaks down, when its memory is full or the products are used up. Then
    ``x + ||r|| u`` gets its true residual ``r = b - J x`` by one product. A claim that does not
    hold true, or a breakdown that leaves something gained, leads to a new run on the new residual
    (iterative refinement), which rids recurrences of their drift. Samples do not influence each
    other: one that waits for the others of its batch is not changed.

    Args:
        begin: starts the method on a product and right-hand sides.
        apply: ``v -> J v`` on batches.
        b: right-hand sides, shape (B, ...).
        x0: first guess or None; dropped for samples where it is worse than zero.
        tolerance: relative to ``||b||``.
        max_products: limit per sample; the product that verifies the last residual is not counted
            against it.
        name: of the method, for the report.
    """
    check_system(b, x0)
    started = time.perf_counter()
    with torch.no_grad():
        run = _Run(checked(apply, b), b.detach(), tolerance, max_products)
        if x0 is not None:
            run.guess(x0.detach())
        while run.prepare():
            run.extend(begin)
    return LinearSolution(
        x=run.x,
        residual=run.residual,
        scale=run.scale,
        tolerance=tolerance,
        evaluations=run.spent,
        status=run.status,
        seconds=time.perf_counter() - started,
        solver=name,
    )


class _Run:
    """The best that is known of every sample, with its true residual."""

    def __init__(self, product: Product, b: Tensor, tolerance: float, limit: int) -> None:
        self.product, self.b, self.limit = product, b, limit
        self.x, self.r = torch.zeros_like(b), b
        self.residual = norm(b)
        self.scale = torch.where(self.residual > 0, self.residual, 1.0)
        self.goal = tolerance * self.scale
        self.spent = torch.zeros(len(b), dtype=torch.int64, device=b.device)
        self.status = torch.full_like(self.spent, Status.RUNNING)
        self.stride = stride_on(b.device)
        self._mark(~torch.isfinite(self.residual), Status.BREAKDOWN)

    @property
    def running(self) -> Tensor:
        """Boolean (B,)."""
        return self.status == Status.RUNNING

    def guess(self, x: Tensor) -> None:
        """Start from x where it is better than zero; one product."""
        self._verify(x, self.running)

    def prepare(self) -> bool:
        """Mark the samples that are done; whether any is left (synchronises)."""
        self._mark(self.residual <= self.goal, Status.CONVERGED)
        return bool(self.running.any())

    def extend(self, begin: Callable[[Product, Tensor], Process]) -> None:
        """Run the method once on the residual of every running sample, then judge."""
        running, before = self.running, self.residual
        start, size = self.x, torch.where(running, before, 1.0)
        unit = where(running, self.r / expand(size, self.r), torch.zeros_like(self.r))
        process = begin(self.product, unit)

        def candidate() -> Tensor:
            return torch.addcmul(start, expand(size, start), process.iterate())

        ended = self._iterate(process, size, candidate)
        cut = running & ~(ended.claimed | ended.broken) & process.error_decreases
        u = where(cut, process.unfinished(), process.iterate())
        final = torch.addcmul(start, expand(size, start), u)
        self._verify(final, running, trusted=cut)

        gained = self.residual <= PROGRESS * before
        self._mark(self.residual <= self.goal, Status.CONVERGED)
        self._mark(ended.broken & (~gained | process.breakdown_is_final), Status.BREAKDOWN)
        self._mark(ended.claimed & (self.residual > PROGRESS_OF_CLAIM * before), Status.STAGNATED)
        self._mark(ended.filled & ~gained, Status.STAGNATED)
        self._mark(self._used_up(process), Status.ITERATION_LIMIT)

    def _iterate(self, process: Process, size: Tensor, candidate: Callable[[], Tensor]) -> _Ended:
        target = (self.goal / size).clamp_max(AIM)
        claimed = broken = torch.zeros_like(self.running)
        active = self.running & ~self._used_up(process)
        open_, steps = bool(active.any()), 0
        while open_ and not process.full:
            for _ in range(self.stride):
                process.step(active)
                steps += 1
                self.spent = self.spent + process.products_per_step * active
                claimed = claimed | (active & (process.residual <= target))
                failed = process.broken | ~torch.isfinite(process.residual)
                broken = broken | (active & failed & ~claimed)
                active = active & ~(claimed | broken | self._used_up(process))
                if process.full:
                    break
                if steps % VERIFY_EVERY == 0:
                    true = self._verify(candidate(), active)
                    drifted = active & ~(true <= DRIFT * process.residual * size)
                    claimed, active = claimed | drifted, active & ~drifted
            open_ = bool(active.any())  # the one synchronisation with the device
        return _Ended(claimed, broken, active)

    def _verify(self, candidate: Tensor, chosen: Tensor, trusted: Tensor | None = None) -> Tensor:
        """Compute true residuals; take candidates that have a smaller one, or are trusted."""
        r = self.b - self.product(candidate)
        residual = norm(r)
        self.spent = self.spent + chosen
        better = residual < self.residual
        if trusted is not None:
            better = better | trusted
        better = better & chosen & torch.isfinite(residual)
        self.x = where(better, candidate, self.x)
        self.r = where(better, r, self.r)
        self.residual = torch.where(better, residual, self.residual)
        return residual

    def _used_up(self, process: Process) -> Tensor:
        return self.spent + process.products_per_step > self.limit

    def _mark(self, condition: Tensor, code: Status) -> None:
        """Give a status to the samples that have none yet."""
        self.status = self.status.masked_fill(condition & self.running, int(code))


@dataclass(frozen=True)
class _Ended:
    """How a run of the method ended for each sample.

    Args:
        claimed: its recurrence claims the tolerance, or proved untrue.
        broken: the method could not go on.
        filled: neither, but its memory was full. The rest ran out of products.
    """

    claimed: Tensor
    broken: Tensor
    filled: Tensor


def stride_on(device: torch.device) -> int:
    """Steps between two looks at what is still running; each look synchronises with the device."""
    return 1 if device.type == "cpu" else 5


def checked(apply: Product, b: Tensor) -> Product:
    """The product, refused where it changes shape or dtype."""

    def product(v: Tensor) -> Tensor:
        value = apply(v)
        if value.shape != b.shape or value.dtype != b.dtype:
            raise InputError(
                f"The operator turned shape {tuple(b.shape)}, {b.dtype} into "
                f"{tuple(value.shape)}, {value.dtype}; it must keep both."
            )
        return value

    return product


def check_system(b: Tensor, x0: Tensor | None = None) -> None:
    """Refuse right-hand sides and first guesses that no method can take.

    Raises:
        InputError: if b is not a real batch or x0 does not match it.
    """
    if not b.is_floating_point():
        raise InputError(
            f"b must be a real floating-point tensor, got {b.dtype}; "
            "give complex vectors as torch.view_as_real(b)."
        )
    if b.dim() < 2 or 0 in b.shape[1:]:
        raise InputError(f"b must have shape (batch, ...), not empty, got {tuple(b.shape)}.")
    if x0 is not None:
        require_like("x0", x0, b, "b")
