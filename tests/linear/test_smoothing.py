"""Residual smoothing of conjugate gradients: fewer products, and no worse an iterate when cut."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.linear import ConjugateGradients

SIZE = 120


def system() -> tuple[Tensor, Tensor]:
    """A badly conditioned symmetric positive definite matrix and a right-hand side."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64))[0]
    values = torch.logspace(0, 4, SIZE, dtype=torch.float64)
    return (basis * values) @ basis.T, torch.randn(
        2, SIZE, generator=generator, dtype=torch.float64
    )


def textbook(matrix: Tensor, b: Tensor, steps: int) -> list[Tensor]:
    """Iterates of conjugate gradients for one right-hand side."""
    x, r, p = torch.zeros_like(b), b, b
    found = []
    for _ in range(steps):
        q = matrix @ p
        alpha = (r @ r) / (p @ q)
        x, new = x + alpha * p, r - alpha * q
        p, r = new + (new @ new) / (r @ r) * p, new
        found.append(x)
    return found


def test_the_tolerance_is_met_by_fewer_products_than_the_textbook_needs() -> None:
    matrix, b = system()
    solution = ConjugateGradients(tolerance=1e-2, max_products=1000).solve(lambda v: v @ matrix, b)
    assert solution.all_converged
    residual = (b - solution.x @ matrix).norm(dim=1) / b.norm(dim=1)
    assert bool((residual <= 1e-2).all())
    for one, spent in zip(b, solution.evaluations.tolist(), strict=True):
        iterates = textbook(matrix, one, 400)
        needed = next(
            k + 1 for k, x in enumerate(iterates) if (one - matrix @ x).norm() <= 1e-2 * one.norm()
        )
        assert spent <= 0.95 * needed


def test_where_products_run_out_the_iterate_itself_is_returned() -> None:
    matrix, b = system()
    solution = ConjugateGradients(tolerance=1e-8, max_products=20).solve(lambda v: v @ matrix, b)
    assert not bool(solution.converged.any())
    for one, x in zip(b, solution.x, strict=True):
        torch.testing.assert_close(x, textbook(matrix, one, 20)[-1], rtol=1e-8, atol=1e-10)
