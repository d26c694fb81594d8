"""Adversarial perturbations of the data: how much of a stability bound can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.posteriori import error_bound
from equipoise.certify.rounding import up
from equipoise.checks import require_positive
from equipoise.equation import Equation
from equipoise.errors import InputError
from equipoise.linear.process import Product
from equipoise.randomness import normal_like
from equipoise.solve import solve
from equipoise.solve.solver import Solver
from equipoise.status import Solution
from equipoise.study.sensitivity import (
    Sensitivity,
    check_squared_norm,
    residual_norm,
    top_directions,
)
from equipoise.vectors import dot, expand, norm, where

#: What an attack makes large: ``||d|| / ||dy||``, ``||A d|| / ||dy||`` or ``alpha D / ||dy||^2``
#: with ``d = x(y + dy) - x(y)``.
Quantity = Literal["norm", "data", "bregman"]
#: Radii of the spheres that are searched, as shares of the radius of the ball.
SPHERES = (1.0, 0.1)
#: Tolerance of the adjoint solves: a direction of ascent need not be exact.
SLOPE = 1e-5
#: A restart is left alone when its step is shorter than this or gains less than the second.
SHORTEST, GAIN = 2.0**-8, 1e-9


@dataclass(frozen=True)
class Attack:
    """What an attack on one equation reached; one entry for each of K restarts.

    Args:
        quantity: what was made large.
        radius: norm of the perturbation, shape (K,).
        measured: the largest ratio met, from the solutions as computed, shape (K,).
        reached: the same less all that the residuals of the two solves can account for: where
            ``proved``, a PROVED constant for the quantity cannot be smaller, shape (K,).
        proved: whether ``reached`` is rigorous; if not it is ``measured`` itself.
        perturbation: dy, shape (K, ...).
        reconstruction: ``x(y + dy)``, shape (K, C, ...).
        base: ``x(y)``, shape (1, C, ...).
        history: best measured ratio after each step, shape (steps, K).
        status: of the solves, :class:`Status` codes, the base first, then (steps * K,).
        starts: where each restart began: random, singular, given.
    """

    quantity: Quantity
    radius: Tensor
    measured: Tensor
    reached: Tensor
    proved: bool
    perturbation: Tensor
    reconstruction: Tensor
    base: Tensor
    history: Tensor
    status: Tensor
    starts: tuple[str, ...]

    @property
    def best(self) -> int:
        """The restart that reached most; that measured most, where residuals account for all."""
        values = self.reached if bool((self.reached > 0).any()) else self.measured
        return int(values.argmax())


def attack(
    equation: Equation,
    x0: Tensor,
    radius: float,
    *,
    quantity: Quantity = "norm",
    restarts: int = 8,
    steps: int = 20,
    linear_steps: int = 20,
    given: Tensor | None = None,
    seed: int = 0,
    tolerance: float = 1e-10,
    max_evaluations: int = 5000,
    solver: Solver | None = None,
) -> Attack:
    r"""Maximise the change of the reconstruction over perturbations of the data.

    Formula: maximise ``||x(y + dy) - x(y)|| / ||dy||`` (or one of the other quantities) over
    ``||dy|| <= radius`` by projected gradient ascent on spheres. The derivative is the implicit one
    with an exact adjoint. A step of length t goes from u on the unit sphere to
    ``(1 - t) u + t g / ||g||``, back on the sphere; t = 1 is the generalised power method, t is
    halved where that loses. All restarts are samples of one batch. Random starts are ``A`` of
    random images and gradients lie in the range of A: entries that A never fills are left alone.

    ``reached`` under R monotone, with e the difference of the two residuals (theory, Thm 2 with
    ``A^T dy + e`` in place of ``A^T dy``): norm, if E is strongly monotone, ``||d||`` less the a
    posteriori errors of both solutions; data, ``||A d|| - ||e|| ||d|| / (w ||A d||)``; bregman,
    ``alpha D - ||e|| ||d||``; w is the weight of the squared norm, 1 by default. What is reached
    for the norm is a lower bound of the Lipschitz constant of y -> x.

    Args:
        equation: of one sample, with the squared-norm fidelity.
        x0: where the base solve starts, shape (1, C, ...).
        radius: of the ball, positive.
        quantity: what is made large.
        restarts: K; about half start at top singular directions of the linearised map.
        steps: ascent steps.
        linear_steps: Lanczos steps behind the top singular directions.
        given: further perturbations to start at (a previous best), shape (k, ...), not zero; each
            stays on its own sphere, or on that of the radius where it is longer.
        seed: of the random starts.
        tolerance: relative residual of the inner solves.
        max_evaluations: limit of evaluations of each.
        solver: of the inner solves; by default the one that suits the traits.

    Returns:
        An :class:`Attack`. Solves that fail are shown in its statuses; without a rigorous
        correction their points do not count.

    Raises:
        HypothesisError: if the fidelity is not a squared norm.
        InputError: if the equation has several samples or the radius is not positive.

    Source: theory, sections 3 and 8.
    """
    check_squared_norm(equation)
    if len(equation.y) != 1:
        raise InputError(f"Attack the equation of one sample at a time, got {len(equation.y)}.")
    require_positive("radius", radius)
    exactly = partial(solve, solver=solver, tolerance=tolerance, max_evaluations=max_evaluations)
    base = exactly(equation, x0)
    metric = _metric(equation, base.x, quantity)
    directions, starts = _starts(equation, base.x, metric, restarts, linear_steps, seed)
    shares = torch.tensor([SPHERES[i % len(SPHERES)] for i in range(len(starts))])
    radii = radius * shares.to(base.x)
    if given is not None:
        directions = torch.cat([directions, given / expand(norm(given), given)])
        radii = torch.cat([radii, norm(given).clamp(max=radius)])
        starts += ["given"] * len(given)
    run = _Ascent(equation, base, quantity, directions, radii)
    for _ in range(steps):
        run.judge(exactly(run.candidate_equation(), run.x))
        if run.finished:
            break
    return Attack(
        quantity=quantity,
        radius=radii,
        measured=run.measured,
        reached=run.reached,
        proved=run.proved,
        perturbation=expand(radii, run.unit) * run.unit,
        reconstruction=run.x,
        base=base.x,
        history=torch.stack(run.history),
        status=torch.cat([base.status, *run.statuses]),
        starts=tuple(starts),
    )


def _metric(equation: Equation, x: Tensor, quantity: Quantity) -> Product | None:
    """``v -> M v`` such that the quantity is ``<M d, d>`` to second order; None for ``M = I``."""
    if quantity == "norm":
        return None
    if quantity == "data":
        return lambda v: equation.physics.A_adjoint(equation.physics.A(v))
    near = equation.regularizer.linearize(x)
    return lambda v: 0.5 * (near.jvp(v) + near.vjp(v))


def _starts(
    equation: Equation,
    x: Tensor,
    metric: Product | None,
    restarts: int,
    steps: int,
    seed: int,
) -> tuple[Tensor, list[str]]:
    """Unit directions, each twice where spheres differ, and where they come from."""
    count = max(1, restarts // 4)
    top = top_directions(equation, x, metric=metric, count=count, steps=steps, seed=seed)
    singular = top.directions.repeat_interleave(len(SPHERES), 0)[:restarts]
    missing = max(0, restarts - len(singular))
    noise = normal_like(x.new_empty(missing, *equation.image_shape[1:]), seed + 1)
    with torch.no_grad():
        random = equation.physics.A(noise) if len(noise) else singular[:0]
    units = torch.cat([singular, random])
    names = ["singular"] * len(singular) + ["random"] * len(random)
    return units / expand(norm(units), units), names


class _Ascent:
    """The best point of every restart, its gradient, and the candidate that is tried next."""

    def __init__(
        self, equation: Equation, base: Solution, quantity: Quantity, unit: Tensor, radii: Tensor
    ) -> None:
        self.equation, self.base, self.quantity, self.radii = equation, base, quantity, radii
        count = len(unit)
        self.unit = self.candidate = unit
        self.gradient = torch.zeros_like(unit)
        self.x = base.x.expand(count, *base.x.shape[1:]).clone()
        self.measured = torch.zeros_like(radii)
        self.reached = torch.zeros_like(radii)
        self.best = torch.full_like(radii, -torch.inf)
        self.step = torch.ones_like(radii)
        self.open = torch.ones_like(radii, dtype=torch.bool)
        self.history: list[Tensor] = []
        self.statuses: list[Tensor] = []
        known = Hypotheses(equation)
        strong = known.strong and known.kind is Kind.PROVED
        self.proved = strong if quantity == "norm" else equation.traits.monotone

    @property
    def finished(self) -> bool:
        return not bool(self.open.any())

    def candidate_equation(self) -> Equation:
        dy = expand(self.radii, self.candidate) * self.candidate
        return self.equation.with_measurements(self.equation.y + dy)

    def judge(self, solution: Solution) -> None:
        """Keep what is better, take its gradient, choose the next candidates."""
        self.statuses.append(solution.status)
        equation = self.candidate_equation()
        value, gradient = self._value_and_gradient(equation, solution.x)
        reached = self._corrected(equation, solution.x, value).clamp_min(0.0)
        good = solution.converged | torch.full_like(solution.converged, self.proved)
        good &= torch.isfinite(value)
        better = self.open & good & (value > self.best)
        gained = value > self.best + GAIN * value.abs()
        more = better & (reached >= self.reached)
        self.reached = torch.where(more, reached, self.reached)
        self.measured = torch.where(more, value, self.measured)
        self.unit = where(better, self.candidate, self.unit)
        self.gradient = where(better, gradient, self.gradient)
        self.x = where(better, solution.x, self.x)
        self.best = torch.where(better, value, self.best)
        self.history.append(self.best.clone())
        self.step = torch.where(better, self.step, self.step / 2)
        self.open &= (gained | ~better) & (self.step >= SHORTEST) & (norm(self.gradient) > 0)
        size = norm(self.gradient)
        slope = where(size > 0, self.gradient / expand(size, self.gradient), self.unit)
        mixed = torch.lerp(self.unit, slope, expand(self.step, slope).to(slope.dtype))
        length = norm(mixed)
        self.candidate = where(length > 0, mixed / expand(length, mixed), self.unit)

    def _value_and_gradient(self, equation: Equation, x: Tensor) -> tuple[Tensor, Tensor]:
        """The quantity of each restart and its gradient in y, through the equilibrium."""
        with torch.enable_grad():
            live = x.detach().requires_grad_()
            value = self._value(live)
            slope = torch.autograd.grad(value.sum(), live)[0]
        return value.detach(), Sensitivity(equation, x, SLOPE).pull(slope)

    def _value(self, x: Tensor) -> Tensor:
        d = x - self.base.x
        if self.quantity == "norm":
            return norm(d) / self.radii
        if self.quantity == "data":
            return norm(self.equation.physics.A(d)) / self.radii
        field = self.equation.regularizer.field
        alpha = torch.as_tensor(self.equation.alpha).detach().to(self.radii)
        return alpha * dot(field(x) - field(self.base.x), d) / self.radii.square()

    def _corrected(self, equation: Equation, x: Tensor, value: Tensor) -> Tensor:
        """The quantity less what residuals and rounding can account for."""
        if not self.proved:
            return value
        if self.quantity == "norm":
            error = error_bound(equation, x) + error_bound(self.equation, self.base.x)
            return value - up(error).to(value) / self.radii
        work = residual_norm(equation, x) + residual_norm(self.equation, self.base.x)
        work = work.to(value) * norm(x - self.base.x)
        if self.quantity == "bregman":
            return value - work / self.radii.square()
        image = (value * self.radii).clamp_min(torch.finfo(value.dtype).tiny)
        return value - work / (equation.data.weight * image * self.radii)
