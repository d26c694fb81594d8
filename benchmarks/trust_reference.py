"""The solution of a small equation by Newton's method, and how much of a distance to it is felt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.trust_problems import Problem
from equipoise.equation import Equation

#: Distances may be so many times tolerance times standard deviation.
ALLOWED = 10.0
#: Entries of ``A 1`` below this share of the largest tell nothing of the level of an image, and
#: distances of data to that level are cut to this quantile.
SEEN, QUANTILE = 0.1, 0.95
#: Units of rounding of the largest value below which distances are not resolved.
UNITS = 10.0
#: Newton steps for a reference, and the share of a residual below which a step keeps its Jacobian.
NEWTON, FAST = 60, 1e-2
#: Points between a solution and its reference at which Jacobians are averaged.
NODES = 8
#: Least eigenvalue of the Jacobian, divided by the roots of its diagonal from both sides.
UNIQUE = 1e-9


@dataclass(frozen=True)
class Reference:
    """The unique solution of one sample.

    Args:
        point: the solution, shape (C, H, W).
        off: a bound on the distance of ``point`` to it.
        jacobian: z -> Jacobian (n, n) at z, shape (C, H, W).
        seen: how much A sees of each pixel and R bends on average, (n,).
        bend: how much E changes, rows balanced, from a constant image to the solution, over their
            distance; at least the largest curvature of the data term.
    """

    point: Tensor
    off: float
    jacobian: Callable[[Tensor], Tensor]
    seen: Tensor
    bend: float

    def felt(self, x: Tensor, limit: float) -> float:
        """The size of ``d = x - point``, of which residuals feel weak directions less.

        Formula: ``min(||d||^2, sum_k 2 s_k^2 / (s_k^2 + 1) (v_k . d)^2)^(1/2)`` with singular
        values s and right singular vectors v of the balanced Jacobian over ``bend``: that at the
        solution, and where this is above the limit, its mean on the way to x, which turns d into
        ``E(x)``.
        """
        d = x - self.point
        found = self._felt(d.flatten(), self.jacobian(self.point))
        if found <= limit:
            return found
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        places = [self.point + 0.5 * (1.0 + node) * d for node in nodes.tolist()]
        parts = [w * self.jacobian(z) for w, z in zip(weights.tolist(), places, strict=True)]
        return min(found, self._felt(d.flatten(), 0.5 * sum(parts, torch.zeros(()))))

    def _felt(self, d: Tensor, matrix: Tensor) -> float:
        whole = float(d.norm())
        if whole == 0 or not math.isfinite(whole):
            return whole
        matrix = matrix * (self.seen.max() / self.seen / self.bend)[:, None]
        normal = matrix.mT @ matrix
        normal.diagonal().add_(1.0)
        inner = torch.cholesky_solve(d[:, None] / whole, torch.linalg.cholesky(normal))
        square = 2.0 * float((matrix @ d / whole) @ (matrix @ inner[:, 0]))
        return whole * math.sqrt(min(1.0, max(0.0, square)))


def find(problem: Problem, x: Tensor, i: int) -> Reference | None:
    """The solution of sample i by Newton's method with dense Jacobians, from x.

    Returns:
        None where the Jacobian is not positive definite or Newton's method fails.
    """
    n = x[0].numel()
    one, many = problem.copies(i, 1), problem.copies(i, n)
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *x.shape[1:])

    def residual(z: Tensor) -> Tensor:
        return one.residual(z[None]).flatten()

    def jacobian(z: Tensor) -> Tensor:
        product = many.linearize(z.expand(n, *z.shape)).jvp
        return product(basis).flatten(1).mT

    z = x[i]
    e, matrix = residual(z), jacobian(z)
    for _ in range(NEWTON):
        try:
            step = torch.linalg.solve(matrix, e)
        except torch.linalg.LinAlgError:
            return None
        length, better = 1.0, False
        while length > 1e-4 and not better:
            trial = z - length * step.reshape(z.shape)
            new = residual(trial)
            better = bool(new.norm() < e.norm())
            length *= 0.5
        if not better:
            break
        slow = bool(new.norm() > FAST * e.norm())
        z, e = trial, new
        if bool(step.norm() <= 1e-13 * z.norm()):
            break
        if slow:
            matrix = jacobian(z)
    diagonal = matrix.diagonal()
    if not bool(diagonal.min() > 0) or not _least(matrix, diagonal) > UNIQUE:
        return None
    curve = many.data.hessian(z.expand(n, *z.shape))(basis).flatten(1)
    seen = curve.diagonal() + (diagonal - curve.diagonal()).mean()
    top = float(torch.linalg.eigvalsh(curve)[-1])
    if not (top > 0 and bool(seen.min() > 0)):
        return None
    off = float(torch.linalg.solve(matrix, e).norm())
    constant = torch.full_like(z, _level(one))
    way = float((z - constant).norm())
    change = float((residual(constant) * (seen.max() / seen)).norm())
    return Reference(z, 2.0 * off, jacobian, seen, max(top, change / way if way > 0 else 0.0))


def _least(matrix: Tensor, diagonal: Tensor) -> float:
    """Least eigenvalue of the symmetric part between the roots of the inverse diagonal."""
    sides = diagonal.rsqrt()
    scaled = sides[:, None] * matrix * sides
    return float(torch.linalg.eigvalsh(0.5 * (scaled + scaled.mT))[0])


def limits(problem: Problem, reference: Reference, i: int) -> tuple[float, float, str]:
    """How far sample i may be from its reference: by the letter, and as can be asked.

    Returns:
        ``ALLOWED`` times tolerance times the reference's standard deviation; the same where no
        residual can tell that, as :mod:`benchmarks.trust` says; and what excuses a distance above
        the first one. All with what the dtype resolves.
    """
    point = reference.point
    root = math.sqrt(point.numel())
    eps = torch.finfo(problem.equation.y.dtype).eps
    resolved = root * UNITS * eps * float(point.abs().max())
    factor = ALLOWED * problem.tolerance
    deviation, size = root * float(point.std(correction=0)), float(point.norm())
    change, terms = _beside_a_constant(problem.copies(i, 1))
    contrast = change / reference.bend
    if change <= UNITS * eps * terms:
        excuse, varied = "constant data", size if size > 0 else 1.0 / reference.bend
    elif deviation < contrast / ALLOWED:
        excuse, varied = "strong smoothing", contrast / ALLOWED
    else:
        excuse, varied = "weak directions", deviation
    return factor * deviation + resolved, factor * varied + resolved, excuse


def _level(one: Equation) -> float:
    """The constant image that fits the data of one sample in the median."""
    u = one.physics.A(torch.ones_like(one.adjoint_data))
    seen = u.abs() >= SEEN * u.abs().max()
    return float((one.y[seen] / u[seen]).median())


def _beside_a_constant(one: Equation) -> tuple[float, float]:
    """What is to be solved beside a constant, outliers of the data aside.

    Returns:
        The size of ``grad f(c) + alpha (R(0) - mean)`` at the constant image c, and of the terms
        that it is a difference of.
    """
    ones = torch.ones_like(one.adjoint_data)
    level, u = _level(one), one.physics.A(ones)
    rest = one.y - level * u
    top = float(rest.abs().flatten().quantile(QUANTILE))
    slope = replace(one, y=level * u + rest.clamp(-top, top)).data.gradient(level * ones)
    pull = one.residual(0.0 * ones) - one.data.gradient(0.0 * ones)
    terms = one.data.hessian(level * ones)(level * ones).norm() + pull.norm()
    return float((slope + pull - pull.mean()).norm()), float(terms)
