"""Optimality of the Krylov iterates, and the convergence bounds of the theory (section 8)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_systems import Dense, indefinite, monotone, normal, orthogonal, positive, symmetric
from torch import Tensor

from equipoise.errors import InputError
from equipoise.linear import GMRES, MINRES, ConjugateGradients, LinearSolver, NeumannSeries
from equipoise.status import Status

#: Relative slack for rounding.
SLACK = 1.0 + 1e-9
PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10_000)


def krylov(matrix: Tensor, b: Tensor, j: int) -> Tensor:
    """Orthonormal basis (B, n, j) of ``span{b, J b, ..., J^{j-1} b}`` by modified Gram-Schmidt."""
    columns = [b / b.norm(dim=1, keepdim=True)]
    while len(columns) < j:
        v = (matrix @ columns[-1][..., None])[..., 0]
        for _ in range(2):
            for c in columns:
                v = v - (c * v).sum(1, keepdim=True) * c
        columns.append(v / v.norm(dim=1, keepdim=True))
    return torch.stack(columns, -1)


def stopped(solver: type[LinearSolver], matrix: Tensor, b: Tensor, j: int) -> Tensor:
    """The method's j-th iterate."""
    options = {"restart": 50} if solver is GMRES else {}
    return solver(tolerance=1e-15, max_products=j, **options).solve(Dense(matrix), b).x


def energy(matrix: Tensor, d: Tensor) -> Tensor:
    return (d * (matrix @ d[..., None])[..., 0]).sum(1).sqrt()


@pytest.mark.parametrize(
    ("solver", "matrix"),
    [
        (MINRES, positive(3, 24, 20.0, seed=1)),
        (MINRES, indefinite(3, 24, 10.0, seed=2)),
        (GMRES, indefinite(3, 24, 10.0, seed=2)),
        (GMRES, monotone(3, 24, seed=3)),
    ],
)
def test_residual_is_the_smallest_over_the_krylov_space(
    solver: type[LinearSolver], matrix: Tensor
) -> None:
    b = normal(3, 24, seed=4)
    for j in (1, 2, 5, 11, 17):
        image = matrix @ krylov(matrix, b, j)
        best = torch.linalg.lstsq(image, b[..., None]).solution
        smallest = (b[..., None] - image @ best).norm(dim=(1, 2))
        x = stopped(solver, matrix, b, j)
        found = (b - (matrix @ x[..., None])[..., 0]).norm(dim=1)
        torch.testing.assert_close(found, smallest, rtol=1e-7, atol=1e-12)


def test_energy_error_is_the_smallest_over_the_krylov_space() -> None:
    matrix, b = positive(3, 24, 20.0, seed=5), normal(3, 24, seed=6)
    answer = torch.linalg.solve(matrix, b)
    for j in (1, 2, 5, 11, 17):
        v = krylov(matrix, b, j)
        best = v @ torch.linalg.solve(v.mT @ matrix @ v, v.mT @ b[..., None])
        smallest = energy(matrix, answer - best[..., 0])
        found = energy(matrix, answer - stopped(ConjugateGradients, matrix, b, j))
        torch.testing.assert_close(found, smallest, rtol=1e-7, atol=1e-12)


@PROPERTY
@given(seed=SEEDS, condition=st.floats(1.5, 1e6), j=st.integers(1, 40))
def test_conjugate_gradients_bound(seed: int, condition: float, j: int) -> None:
    matrix, b = positive(2, 30, condition, seed), normal(2, 30, seed=seed + 1)
    answer = torch.linalg.solve(matrix, b)
    error = energy(matrix, answer - stopped(ConjugateGradients, matrix, b, j))
    root = condition**0.5
    bound = 2 * ((root - 1) / (root + 1)) ** j * energy(matrix, answer)
    assert (error <= bound * SLACK + 1e-12 * energy(matrix, answer)).all()


@PROPERTY
@given(seed=SEEDS, low=st.floats(0.01, 1.0), twist=st.floats(0.0, 3.0), j=st.integers(1, 25))
def test_gmres_bound_of_elman(seed: int, low: float, twist: float, j: int) -> None:
    noise = normal(2, 25, 25, seed=seed) / 5
    values = torch.linspace(low, 1.0, 25, dtype=torch.float64).expand(2, 25)
    matrix = symmetric(values, seed + 1) + twist * (noise - noise.mT)
    b = normal(2, 25, seed=seed + 2)
    size = torch.linalg.matrix_norm(matrix, 2)
    solution = GMRES(tolerance=1e-15, max_products=j).solve(Dense(matrix), b)
    bound = (1 - low**2 / size**2) ** (j / 2)
    assert (solution.relative_residual <= bound * SLACK + 1e-13).all()


@PROPERTY
@given(seed=SEEDS, low=st.floats(0.01, 0.9), j=st.integers(1, 25))
def test_gmres_bound_in_a_disc(seed: int, low: float, j: int) -> None:
    # J - (1 + low)/2 I has norm (1 - low)/2: every singular value there, the worst case.
    turn = orthogonal(2, 25, seed)
    matrix = 0.5 * (1 + low) * torch.eye(25, dtype=torch.float64) + 0.5 * (1 - low) * turn
    b = normal(2, 25, seed=seed + 2)
    solution = GMRES(tolerance=1e-15, max_products=j).solve(Dense(matrix), b)
    bound = ((1 - low) / (1 + low)) ** j
    assert (solution.relative_residual <= bound * SLACK + 1e-13).all()


@PROPERTY
@given(
    seed=SEEDS,
    kappa=st.floats(0.05, 0.99),
    terms=st.integers(0, 20),
    size=st.floats(0.1, 10.0),
)
def test_neumann_truncation_bound(seed: int, kappa: float, terms: int, size: float) -> None:
    # J = B^{-1} (I - T) with ||T|| = kappa; B is not a multiple of the identity.
    turn = orthogonal(2, 12, seed)
    inverse = size * positive(2, 12, 5.0, seed + 1)
    eye = torch.eye(12, dtype=torch.float64)
    matrix = torch.linalg.solve(inverse, eye - kappa * turn)
    b = normal(2, 12, seed=seed + 2)
    solution = NeumannSeries(terms=terms, inverse=Dense(inverse)).solve(Dense(matrix), b)
    error = (solution.x - torch.linalg.solve(matrix, b)).norm(dim=1)
    first = (inverse @ b[..., None]).norm(dim=(1, 2))
    bound = kappa ** (terms + 1) / (1 - kappa) * first
    assert (error <= bound * SLACK + 1e-11 * first).all()


def test_neumann_terms_are_those_of_the_series() -> None:
    matrix, b = monotone(2, 10, seed=7), normal(2, 10, seed=8)
    contraction = torch.eye(10, dtype=torch.float64) - 0.5 * matrix
    term = total = 0.5 * b
    for k in range(4):
        product = Dense(matrix)
        solution = NeumannSeries(terms=k, inverse=lambda v: 0.5 * v).solve(product, b)
        torch.testing.assert_close(solution.x, total)
        residual = (b - (matrix @ total[..., None])[..., 0]).norm(dim=1)
        torch.testing.assert_close(solution.residual, residual)
        assert solution.evaluations.tolist() == [k + 1, k + 1] == [product.calls] * 2
        assert solution.statuses == [Status.ITERATION_LIMIT] * 2
        term = (contraction @ term[..., None])[..., 0]
        total = total + term


def test_neumann_statuses_are_per_sample() -> None:
    scale = torch.tensor([[1.0], [0.5], [30.0]], dtype=torch.float64)
    b = torch.ones(3, 4, dtype=torch.float64)
    series = NeumannSeries(terms=5, inverse=lambda v: v)
    solution = series.solve(lambda v: scale * v, b)
    assert solution.statuses == [Status.CONVERGED, Status.ITERATION_LIMIT, Status.DIVERGED]
    zero = series.solve(lambda v: scale * v, torch.zeros_like(b))
    assert zero.all_converged
    assert (zero.x == 0).all()


def test_neumann_series_that_are_not_finite_have_diverged() -> None:
    series = NeumannSeries(terms=2, inverse=lambda v: v)
    b = torch.tensor([[1.0, 0.0], [math.nan, 1.0], [1.0, 0.0]]).double()
    wild = torch.tensor([[1.0], [1.0], [math.inf]]).double()
    found = series.solve(lambda v: wild * v, b)
    assert found.statuses == [Status.CONVERGED, Status.DIVERGED, Status.DIVERGED]


def test_neumann_refuses_bad_input() -> None:
    with pytest.raises(InputError, match="terms"):
        NeumannSeries(terms=-1, inverse=lambda v: v)
    with pytest.raises(InputError, match="tolerance"):
        NeumannSeries(terms=0, inverse=lambda v: v, tolerance=-1.0)
    with pytest.raises(InputError, match="batch"):
        NeumannSeries(terms=0, inverse=lambda v: v).solve(lambda v: v, torch.ones(3))
