"""The stopwatch, and whether the other packages are called so that they can succeed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from deepinv.optim import DEQConfig
from easy_instance import easy
from torch import Tensor

from benchmarks.peers import derivatives, methods, torchdeq_models
from benchmarks.peers.cases import MAIN
from benchmarks.peers.comparison import comparison_table, method_row
from benchmarks.peers.counts import _median
from benchmarks.peers.derivatives import Derivative, Differentiation
from benchmarks.peers.exact import Exact, exact_hypergradient
from benchmarks.peers.methods import DEFAULT, OURS, Method
from benchmarks.peers.setting import setting
from benchmarks.peers.watch import Point, Trajectory, Watch, WatchedEquation, trajectory
from benchmarks.reference import reference
from equipoise.differentiate import adjoint_by_name, default_adjoint
from equipoise.solve import solve

needs_torchdeq = pytest.mark.skipif(not torchdeq_models.available(), reason=torchdeq_models.MISSING)


def _watched(watch: Watch) -> WatchedEquation:
    one = easy()
    return WatchedEquation(one.problem.physics, one.y, one.regularizer, one.alpha, watch=watch)


def test_the_watch_counts_what_the_solver_counts() -> None:
    watch = Watch(lambda x: torch.ones(len(x)), goal=0.0, limit_s=60.0)
    equation = _watched(watch)
    found = trajectory(watch, lambda: solve(equation, equation.adjoint_data, tolerance=1e-5))
    plain = solve(easy().equation(), equation.adjoint_data, tolerance=1e-5)
    assert found.last.evaluations == int(plain.evaluations)
    assert [point.evaluations for point in found.points] == list(range(1, len(found.points) + 1))


def test_the_watch_does_not_count_its_own_time() -> None:
    def slow(x: Tensor) -> Tensor:
        time.sleep(0.05)
        return torch.ones(len(x))

    watch = Watch(slow, goal=0.0, limit_s=60.0)

    def method() -> None:
        for _ in range(10):
            time.sleep(0.001)
            watch.saw(torch.zeros(1, 1))

    found = trajectory(watch, method)
    assert 0.01 <= found.last.seconds < 0.25


def test_the_watch_ends_methods_at_the_goal_and_at_the_limit() -> None:
    def endless(watch: Watch) -> Callable[[], None]:
        def method() -> None:
            x = torch.ones(2, 1)
            while True:
                time.sleep(0.001)
                watch.saw(x)
                x = x / 2

        return method

    watch = Watch(lambda x: x[:, 0].abs(), goal=0.1, limit_s=60.0)
    found = trajectory(watch, endless(watch))
    assert found.last == Point(5, found.last.seconds, 1 / 16)
    assert found.first(0.5) == found.points[1]
    assert found.first(0.01) is None
    watch = Watch(lambda x: torch.full((2,), torch.nan), goal=0.1, limit_s=0.02)
    found = trajectory(watch, endless(watch))
    assert 0.02 < found.last.seconds < 1.0
    assert found.last.error == float("inf")


def test_the_worst_sample_counts_and_the_best_point_of_each() -> None:
    errors = iter([[3.0, 1.0], [1.0, 5.0], [2.0, 4.0], [2.0, 0.5]])
    watch = Watch(lambda x: torch.tensor(next(errors)), goal=0.0, limit_s=60.0)

    def method() -> None:
        for _ in range(4):
            watch.saw(torch.zeros(2, 1))

    found = trajectory(watch, method)
    assert [point.error for point in found.points] == [3.0, 1.0, 1.0, 1.0]


def test_a_method_that_is_never_seen_is_an_error() -> None:
    watch = Watch(lambda x: x, goal=0.0, limit_s=1.0)
    with pytest.raises(RuntimeError, match="no evaluation"):
        trajectory(watch, lambda: None)


def test_a_singular_system_is_reported() -> None:
    watch = Watch(lambda x: torch.ones(1), goal=0.0, limit_s=1.0)

    def method() -> None:
        watch.saw(torch.zeros(1, 1))
        torch.linalg.solve(torch.zeros(2, 2), torch.ones(2))

    assert "singular" in trajectory(watch, method).words


@pytest.mark.parametrize("method", [*OURS, *methods.peers()], ids=lambda each: each.label)
def test_every_method_solves_an_easy_instance(method: Method, tmp_path: Path) -> None:
    one = easy()
    exact = reference(one, 1e-7, folder=tmp_path)
    found = method(setting(one), Watch(exact.error, goal=1e-3, limit_s=20.0))
    assert found.first(1e-3) is not None
    assert found.points[0].error > 0.05


def _ours(tolerance: float) -> Differentiation:
    return derivatives.own(
        "ours",
        lambda given: default_adjoint(given.instance.equation(), tolerance=tolerance),
        5e-6,
    )


def _backward(iterations: int) -> DEQConfig:
    return DEQConfig(anderson_acceleration_backward=True, max_iter_backward=iterations)


def _close(found: Derivative, exact: Exact, tolerance: float) -> None:
    assert exact.adjoint_residual(found.x, found.q) < tolerance
    assert exact.error(found.gradient) < 10 * tolerance
    assert exact.cosine(found.gradient) > 1 - tolerance


@pytest.mark.parametrize("solved", [True, False])
def test_our_derivatives_are_exact(solved: bool, tmp_path: Path) -> None:
    one = easy()
    exact = exact_hypergradient(one, tmp_path)
    found = _ours(1e-5).run(setting(one), exact.x.float() if solved else None)
    _close(found, exact, 2e-5)
    assert found.words == "converged"
    assert found.products > 3


def test_double_back_propagation_is_exact(tmp_path: Path) -> None:
    one = easy(weak_convexity=0.3)
    exact = exact_hypergradient(one, tmp_path)
    found = derivatives.double_backprop("", 1e-5, deepinv=False).run(setting(one), exact.x.float())
    _close(found, exact, 2e-5)
    theirs = derivatives.double_backprop("", 1e-5, deepinv=True).run(setting(one), exact.x.float())
    _close(theirs, exact, 1e-3)


def test_deepinvs_derivative_is_exact_where_it_has_the_iterations(tmp_path: Path) -> None:
    one = easy()
    exact = exact_hypergradient(one, tmp_path)
    method = derivatives.deepinv_equilibrium("", True, _backward(300))
    found = method.run(setting(one), exact.x.float())
    _close(found, exact, 2e-3)
    assert found.words == derivatives.NOTHING


@needs_torchdeq
def test_torchdeqs_derivative_is_exact_where_it_has_the_iterations(tmp_path: Path) -> None:
    one = easy()
    exact = exact_hypergradient(one, tmp_path)
    method = derivatives.torchdeq_layer(
        "", "anderson", 300, ift=True, b_solver="anderson", b_max_iter=300, b_tol=1e-7
    )
    found = method.run(setting(one), exact.x.float())
    _close(found, exact, 2e-3)
    phantom = derivatives.torchdeq_layer("", "anderson", 300, **derivatives.PHANTOM)
    rough = phantom.run(setting(one), exact.x.float())
    assert 0.1 < exact.adjoint_residual(rough.x, rough.q) < 1.0
    assert rough.products == derivatives.PHANTOM["grad"]


def test_fewer_products_leave_a_larger_residual(tmp_path: Path) -> None:
    one = easy()
    exact = exact_hypergradient(one, tmp_path)
    method = derivatives.own("", lambda given: adjoint_by_name("cg:2"), 1e-6)
    found = method.run(setting(one), exact.x.float())
    assert 1e-3 < exact.adjoint_residual(found.x, found.q) < 1.0
    assert found.words == "backward ITERATION_LIMIT"


def test_without_torchdeq_its_methods_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchdeq_models, "available", lambda: False)
    labels = [each.label for each in (*methods.peers(), *derivatives.peers())]
    assert labels
    assert not any("torchdeq" in label for label in labels)
    own = Trajectory([Point(1, 0.1, 1e-4)])
    last = comparison_table(MAIN, {DEFAULT: own}).rows[-1]
    assert last.values == {
        "evaluations0": "torchdeq is not installed: pip install 'equipoise[peers]'"
    }


def test_a_level_that_is_not_reached_is_said_in_words() -> None:
    own = Trajectory([Point(1, 0.1, 0.5), Point(2, 0.2, 9e-4), Point(3, 0.4, 5e-5)])
    slow = Trajectory([Point(1, 1.0, 0.5), Point(700, 8.0, 0.25)], "it broke")
    row = method_row("slow", slow, own)
    assert row.values["evaluations0"] == (
        "not reached: 0.25 after 700 evaluations, 8.0 s (it broke)"
    )
    assert row.values["ratio0"] == "> 40"
    assert row.values["ratio1"] == "> 20"
    assert "seconds0" not in row.values
    row = method_row(DEFAULT, own, own)
    assert (row.values["evaluations0"], row.values["seconds0"], row.values["ratio0"]) == (
        2,
        0.2,
        1.0,
    )


def test_medians_say_how_many_images_got_there() -> None:
    assert _median([3, 5, 10]) == 5.0
    assert _median([3, None]) == "reached on 1 of 2"
    assert _median([]) is None
