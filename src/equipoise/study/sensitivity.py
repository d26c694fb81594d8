"""The derivative of the reconstruction with respect to the data, and its top directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.rounding import length, up
from equipoise.data_term import DataTerm
from equipoise.differentiate import KrylovAdjoint, default_adjoint
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.linear.process import Product
from equipoise.status import LinearSolution

#: A Ritz pair whose residual is below this share of the largest Ritz value has settled.
SETTLED = 1e-10
#: Limit of products of each linear solve.
PRODUCTS = 500


@dataclass(frozen=True)
class TopDirections:
    """Singular values of ``S = J^{-1} A^T``, the derivative of y -> x, from the largest down.

    Args:
        values: singular values, shape (k,); from below (Rayleigh-Ritz).
        directions: right singular vectors (perturbations of the data), norm 1, shape (k, ...).
        status: of the linear solves behind them, codes of :class:`equipoise.status.Status`.
    """

    values: Tensor
    directions: Tensor
    status: Tensor


class PreconditionedAdjoint(KrylovAdjoint):
    """Solve ``J^T q = g`` with ``(A^T A + c I)^{-1}`` as preconditioner where it is known.

    The number of products then depends on R alone, not on the decay of A's singular values.
    """

    def solve(
        self, equation: Equation, transpose: Product, g: Tensor, start: Tensor | None
    ) -> LinearSolution:
        """Run the linear solver on systems with J or with its transpose."""
        known = equation.resolvent()
        inverse = None if known is None else known[0]
        return self.linear.solve(transpose, g, x0=start, preconditioner=inverse)


def sensitivity_adjoint(equation: Equation, tolerance: float) -> PreconditionedAdjoint:
    """The preconditioned adjoint that suits the equation's traits."""
    usual = default_adjoint(equation, tolerance=tolerance, max_products=PRODUCTS)
    return PreconditionedAdjoint(usual.linear)


def check_squared_norm(equation: Equation) -> DataTerm:
    """The data term, if it is a squared norm.

    Raises:
        HypothesisError: for any other data fidelity, for which stability in the data is not stated.
    """
    if type(equation.data) is not DataTerm:
        raise HypothesisError(
            "Stability against the data is stated for the squared norm only (theory, Thm 2): use "
            "deepinv.optim.L2, or whiten the data first."
        )
    return equation.data


def top_directions(
    equation: Equation,
    x: Tensor,
    *,
    count: int = 3,
    steps: int = 20,
    seed: int = 0,
    tolerance: float = 1e-7,
) -> TopDirections:
    """Find the perturbations of the data that move the linearised reconstruction most.

    Formula: ``S = J^{-1} w A^T`` with ``J = w A^T A + alpha J_R(x)`` (w = 1 for the plain squared
    norm). Power iteration on ``S^T S`` that keeps its past (Lanczos with full
    reorthogonalisation); each step solves one system with J and one with its transpose.

    Args:
        equation: of one sample, with the squared-norm fidelity.
        x: its equilibrium, shape (1, C, ...).
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
    weight = check_squared_norm(equation).weight
    if len(equation.y) != 1:
        raise InputError(f"Give the equation of one sample, got {len(equation.y)}.")
    physics, near = equation.physics, equation.linearize(x)
    adjoint = sensitivity_adjoint(equation, tolerance)
    reports: list[LinearSolution] = []

    def solved(product: Product, b: Tensor) -> Tensor:
        reports.append(adjoint.solve(equation, product, b, None))
        return reports[-1].x

    def gram(v: Tensor) -> Tensor:
        """``S^T S v``."""
        image = solved(near.jvp, weight * physics.A_adjoint(v))
        return weight * physics.A(solved(near.vjp, image))

    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(equation.image_shape, generator=generator, dtype=torch.float64)
        v = physics.A(noise.to(equation.adjoint_data))
        basis: list[Tensor] = [flat(v) / flat(v).norm()]
        images: list[Tensor] = []
        for _ in range(steps):
            w = flat(gram(unflat(basis[-1], v)))
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
    status = torch.cat([report.status for report in reports])
    return TopDirections(values[wanted].flip(0).clamp_min(0).sqrt(), directions, status)


def residual_norm(equation: Equation, x: Tensor) -> Tensor:
    """At least ``||E(x)||`` of the exact residual, shape (B,), float64: rounding is allowed for."""
    known = Hypotheses(equation)
    return up(length(equation.residual(x)) + known.rounding(x, known.field(x)))


def flat(v: Tensor) -> Tensor:
    """One sample as a real vector."""
    return torch.view_as_real(v).flatten() if v.is_complex() else v.flatten()


def unflat(row: Tensor, like: Tensor) -> Tensor:
    """A real vector in the shape of the sample ``like``, (1, ...)."""
    if like.is_complex():
        return torch.view_as_complex(row.reshape(*like.shape, 2).contiguous())
    return row.reshape(like.shape)
