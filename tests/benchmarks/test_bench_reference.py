"""References against equipoise's solver, the formula against its kernels, derivatives against
finite differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from easy_instance import easy

import benchmarks.reference as module
from benchmarks.peers.exact import exact_hypergradient
from benchmarks.reference import energy, reference, ridge_potential
from equipoise.errors import ConvergenceError, UsageError
from equipoise.solve import solve


def test_the_bound_covers_the_distance_to_another_solution(tmp_path: Path) -> None:
    one = easy()
    loose = reference(one, 1e-4, folder=tmp_path)
    double = one.to(torch.float64)
    exact = solve(double.equation(), double.start(), tolerance=1e-13)
    assert exact.all_converged
    error = float(loose.error(exact.x))
    assert loose.residual <= 1e-4
    assert loose.modulus == 1.0
    assert loose.error_bound == loose.residual
    assert 0 < error <= loose.error_bound * (1 + 1e-6)


def test_no_bound_where_nothing_is_strongly_convex(tmp_path: Path) -> None:
    found = reference(easy(weak_convexity=1.0), 1e-6, folder=tmp_path)
    assert found.modulus == 0.0
    assert found.error_bound is None


def test_the_residual_is_that_of_the_equation(tmp_path: Path) -> None:
    one = easy(weak_convexity=0.5)
    found = reference(one, 1e-5, folder=tmp_path)
    residual = one.to(torch.float64).equation().residual(found.x)
    assert float(residual.norm() / found.x.norm()) == pytest.approx(found.residual, rel=1e-6)


@pytest.mark.parametrize("weak_convexity", [0.0, 0.7])
def test_the_formula_is_the_regularisers_potential(weak_convexity: float) -> None:
    double = easy(weak_convexity, batch=2).to(torch.float64)
    x = double.truth
    expected = double.regularizer.potential(x).sum()
    torch.testing.assert_close(
        ridge_potential(x, double.regularizer), expected, rtol=1e-12, atol=0.0
    )
    value, _ = double.equation().potential_and_residual(x)
    torch.testing.assert_close(energy(double, x), value.sum(), rtol=1e-12, atol=0.0)


def test_references_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = easy()
    first = reference(one, 1e-5, folder=tmp_path)

    def never(*arguments: object) -> None:
        raise AssertionError("solved again")

    monkeypatch.setattr(module, "_minimise", never)
    again = reference(one, 1e-5, folder=tmp_path)
    torch.testing.assert_close(again.x, first.x, rtol=0.0, atol=0.0)
    assert (again.residual, again.evaluations) == (first.residual, first.evaluations)
    others = (replace(one, y=one.y.flip(-1)), replace(one, alpha=0.5), easy(weak_convexity=0.1))
    for other in others:
        with pytest.raises(AssertionError, match="solved again"):
            reference(other, 1e-5, folder=tmp_path)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one image"):
        reference(easy(batch=2), 1e-5, folder=tmp_path)
    with pytest.raises(ConvergenceError, match="loosen the tolerance"):
        reference(easy(), 1e-30, folder=tmp_path)
    assert not list(tmp_path.glob("*"))


def test_the_exact_hypergradient_is_the_derivative_of_the_loss(tmp_path: Path) -> None:
    one = easy(weak_convexity=0.3)
    exact = exact_hypergradient(one, tmp_path)
    again = exact_hypergradient(one, tmp_path)
    torch.testing.assert_close(exact.gradient, again.gradient, rtol=0.0, atol=0.0)
    parameters = list(exact.instance.regularizer.parameters())
    generator = torch.Generator().manual_seed(0)
    directions = [
        torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in parameters
    ]
    flat = torch.cat([each.flatten() for each in directions])

    def loss(step: float) -> float:
        moved = one.to(torch.float64)
        with torch.no_grad():
            for each, way in zip(moved.regularizer.parameters(), directions, strict=True):
                each.add_(way, alpha=step)
        solution = solve(moved.equation(), moved.start(), tolerance=1e-13)
        return float(0.5 * (solution.x - moved.truth).square().sum())

    step = 1e-5
    slope = (loss(step) - loss(-step)) / (2 * step)
    assert slope == pytest.approx(float(flat @ exact.gradient), rel=1e-4)
