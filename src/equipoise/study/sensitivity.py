"""The derivative of the reconstruction with respect to the data, and its top directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.data_term import DataTerm
from equipoise.differentiate import default_adjoint
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.status import LinearSolution, Status

#: A Ritz pair whose residual is below this share of the largest Ritz value has settled.
SETTLED = 1e-10


@dataclass(frozen=True)
class TopDirections:
    """Singular values of ``S = J^{-1} A^T``, the derivative of y -> x, from the largest down.

    Args:
        values: singular values, shape (k,); from below (Rayleigh-Ritz).
        directions: right singular vectors (perturbations of the data), norm 1, shape (k, ...).
        status: of the linear solves behind them, :class:`Status` codes.
    """

    values: Tensor
    directions: Tensor
    status: Tensor


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
    steps: int = 30,
    seed: int = 0,
    tolerance: float = 1e-9,
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
    linear = default_adjoint(equation, tolerance=tolerance, max_products=5000).linear
    reports: list[LinearSolution] = []

    def solved(product: Callable[[Tensor], Tensor], b: Tensor) -> Tensor:
        reports.append(linear.solve(product, b))
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


def flat(v: Tensor) -> Tensor:
    """One sample as a real vector."""
    return torch.view_as_real(v).flatten() if v.is_complex() else v.flatten()


def unflat(row: Tensor, like: Tensor) -> Tensor:
    """A real vector in the shape of the sample ``like``, (1, ...)."""
    if like.is_complex():
        return torch.view_as_complex(row.reshape(*like.shape, 2).contiguous())
    return row.reshape(like.shape)


def all_converged(status: Tensor) -> bool:
    """Whether every code says CONVERGED."""
    return bool((status == Status.CONVERGED).all())
