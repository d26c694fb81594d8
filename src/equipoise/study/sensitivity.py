"""The derivative of the reconstruction with respect to the data, and its top directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.point import Point
from equipoise.certify.rounding import length, up
from equipoise.data_term import DataTerm
from equipoise.differentiate import default_adjoint
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.linear.process import Product
from equipoise.randomness import normal_like
from equipoise.status import LinearSolution

#: A Ritz pair whose residual is below this share of the largest Ritz value has settled.
SETTLED = 1e-10
#: Limit of products of each linear solve.
PRODUCTS = 500


@dataclass(frozen=True)
class TopDirections:
    """Singular values of the derivative S of y -> x, from the largest down.

    Args:
        values: square roots of the eigenvalues of ``S^T M S``, shape (k,); singular values for
            ``M = I``; from below (Rayleigh-Ritz).
        directions: eigenvectors (perturbations of the data), norm 1, shape (k, ...).
        status: of the linear solves behind them, codes of :class:`equipoise.status.Status`.
    """

    values: Tensor
    directions: Tensor
    status: Tensor


def check_squared_norm(equation: Equation) -> DataTerm:
    """The data term, if it is a squared norm.

    Raises:
        HypothesisError: for any other data fidelity, for which stability in the data is not stated.
    """
    data = equation.data
    if type(data) is not DataTerm or torch.as_tensor(data.weight).numel() > 1:
        raise HypothesisError(
            "Stability against the data is stated for the squared norm only (theory, Thm 2): use "
            "deepinv.optim.L2, or whiten the data first."
        )
    return data


class Sensitivity:
    """The derivative ``S = J^{-1} w A^T`` of the equilibrium in the data, at one point.

    ``J = w A^T A + alpha J_R(x)``, w = 1 for the plain squared norm. The linear solver is the
    exact one that suits the traits; ``(w A^T A + c I)^{-1}`` preconditions it where it is known,
    so that the number of products depends on R, not on the decay of A's singular values.

    Args:
        equation: with the squared-norm fidelity.
        x: its equilibria, shape (B, C, ...).
        tolerance: relative residual of the linear solves.

    Raises:
        HypothesisError: if the fidelity is not a squared norm.

    Source: theory, section 8.
    """

    def __init__(self, equation: Equation, x: Tensor, tolerance: float) -> None:
        self.weight = float(check_squared_norm(equation).weight)
        self.physics, self.near = equation.physics, equation.linearize(x)
        usual = default_adjoint(equation, tolerance=tolerance, max_products=PRODUCTS)
        self.linear = usual.linear
        known = equation.resolvent()
        self.inverse = None if known is None else known[0]
        self.reports: list[LinearSolution] = []

    def push(self, dy: Tensor) -> Tensor:
        """``S dy``, what a small change of the data does to the equilibrium."""
        with torch.no_grad():
            return self._solved(self.near.jvp, self.weight * self.physics.A_adjoint(dy))

    def pull(self, g: Tensor) -> Tensor:
        """``S^T g``, the gradient in the data of a function with gradient g at the equilibrium."""
        with torch.no_grad():
            return self.weight * self.physics.A(self._solved(self.near.vjp, g))

    @property
    def status(self) -> Tensor:
        """Of all linear solves so far, codes of :class:`equipoise.status.Status`."""
        return torch.cat([report.status for report in self.reports])

    def _solved(self, product: Product, b: Tensor) -> Tensor:
        self.reports.append(self.linear.solve(product, b, preconditioner=self.inverse))
        return self.reports[-1].x


def top_directions(
    equation: Equation,
    x: Tensor,
    *,
    metric: Product | None = None,
    count: int = 3,
    steps: int = 20,
    seed: int = 0,
    tolerance: float = 1e-7,
) -> TopDirections:
    """Find the perturbations of the data that move the linearised reconstruction most.

    Formula: the top eigenvectors of ``S^T M S``, S of :class:`Sensitivity`, by power iteration that
    keeps its past (Lanczos with full reorthogonalisation); each step solves one system with J and
    one with its transpose.

    Args:
        equation: of one sample, with the squared-norm fidelity.
        x: its equilibrium, shape (1, C, ...).
        metric: ``v -> M v`` on images, symmetric: ``<M v, v>`` is what is to be large; None is the
            squared norm.
        count: directions wanted; fewer come back where ``S`` has smaller rank.
        steps: Lanczos steps.
        seed: of the first direction, ``A`` of a random image.
        tolerance: relative residual of the linear solves.

    Returns:
        The leading singular values and directions.

    Raises:
        HypothesisError: if the fidelity is not a squared norm.
        InputError: if the equation has more than one sample.

    Source: the linearisation is theory, section 8; Lanczos, Golub and Van Loan, chapter 10.
    """
    if len(equation.y) != 1:
        raise InputError(f"Give the equation of one sample, got {len(equation.y)}.")
    physics, near = equation.physics, Sensitivity(equation, x, tolerance)
    with torch.no_grad():
        v = physics.A(normal_like(equation.adjoint_data, seed))
        basis: list[Tensor] = [flat(v) / flat(v).norm()]
        images: list[Tensor] = []
        for _ in range(steps):
            image = near.push(unflat(basis[-1], v))
            w = flat(near.pull(image if metric is None else metric(image)))
            images.append(w)
            q = torch.stack(basis)
            for _ in range(2):  # once loses orthogonality where the remainder is small
                w = w - q.mT @ (q @ w)
            small = q @ torch.stack(images).mT
            values, vectors = torch.linalg.eigh((small + small.mT) / 2)
            wanted = slice(-min(count, len(basis)), None)
            left = w.norm() * vectors[-1, wanted].abs().max()
            if left <= SETTLED * values[-1] or len(basis) == len(w):
                break
            basis.append(w / w.norm())
        found = vectors[:, wanted].flip(1).mT @ torch.stack(basis[: len(images)])
        directions = torch.cat([unflat(row, v) for row in found])
    return TopDirections(values[wanted].flip(0).clamp_min(0).sqrt(), directions, near.status)


def residual_norm(equation: Equation, x: Tensor) -> Tensor:
    """At least ``||E(x)||`` of the exact residual, shape (B,), float64: rounding is allowed for."""
    point = Point(Hypotheses(equation), x)
    return up(length(point.residual) + point.rounding)


def flat(v: Tensor) -> Tensor:
    """One sample as a real vector."""
    return torch.view_as_real(v).flatten() if v.is_complex() else v.flatten()


def unflat(row: Tensor, like: Tensor) -> Tensor:
    """A real vector in the shape of the sample ``like``, (1, ...)."""
    if like.is_complex():
        return torch.view_as_complex(row.reshape(*like.shape, 2).contiguous())
    return row.reshape(like.shape)
