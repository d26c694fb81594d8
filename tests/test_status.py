"""Statuses, their advice, and what an outcome says of itself."""

from __future__ import annotations

import warnings

import pytest
import torch

from equipoise.errors import ConvergenceError, ConvergenceWarning
from equipoise.status import LinearSolution, Outcome, Solution, Status

FAILURES = [s for s in Status if s not in (Status.RUNNING, Status.CONVERGED)]


def outcome(*statuses: Status, kind: type[Outcome] = Solution) -> Outcome:
    count = len(statuses)
    return kind(
        x=torch.zeros(count, 1, 2, 2),
        residual=torch.arange(1.0, count + 1),
        scale=torch.full((count,), 10.0),
        tolerance=1e-4,
        evaluations=torch.arange(count) + 7,
        status=torch.tensor([int(s) for s in statuses], dtype=torch.int64),
        seconds=0.25,
        solver="lbfgs",
    )


def test_every_status_has_advice_of_its_own() -> None:
    texts = {s.advice for s in Status}
    assert len(texts) == len(Status)
    assert all(text.endswith(".") for text in texts)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (Status.STAGNATED, "smaller alpha"),
        (Status.ITERATION_LIMIT, "more evaluations"),
        (Status.DIVERGED, "smaller step"),
        (Status.OUT_OF_DOMAIN, "positive background"),
        (Status.BREAKDOWN, "gmres"),
    ],
)
def test_advice_says_what_helps(status: Status, word: str) -> None:
    assert word in status.advice


def test_convergence_is_per_sample() -> None:
    mixed = outcome(Status.CONVERGED, Status.DIVERGED, Status.CONVERGED)
    assert mixed.converged.tolist() == [True, False, True]
    assert not mixed.all_converged
    assert mixed.statuses == [Status.CONVERGED, Status.DIVERGED, Status.CONVERGED]
    assert mixed.relative_residual.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert outcome(Status.CONVERGED).all_converged


def test_summary_counts_and_advises_once() -> None:
    text = outcome(Status.CONVERGED, Status.DIVERGED, Status.STAGNATED, Status.DIVERGED).summary()
    assert text.startswith("lbfgs: 1 of 4 converged to 1.0e-04")
    assert "worst relative residual 4.00e-01" in text
    assert "at most 10 evaluations" in text
    assert text.count("DIVERGED: ") == text.count("STAGNATED: ") == 1
    assert Status.DIVERGED.advice in text
    assert "CONVERGED: " not in outcome(Status.CONVERGED).summary()


def test_an_empty_batch_has_a_summary() -> None:
    assert outcome().summary().startswith("lbfgs: 0 of 0 converged")
    assert outcome().all_converged


@pytest.mark.parametrize("kind", [Solution, LinearSolution])
@pytest.mark.parametrize("status", FAILURES)
def test_failures_are_ignored_told_or_raised_as_asked(status: Status, kind: type[Outcome]) -> None:
    failed = outcome(Status.CONVERGED, status, kind=kind)
    with pytest.raises(ConvergenceError, match=status.name) as caught:
        failed.check("error")
    assert str(caught.value) == failed.summary()
    with pytest.warns(ConvergenceWarning, match=status.name):
        failed.check("warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        failed.check("ignore")


def test_success_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome(Status.CONVERGED, Status.CONVERGED).check("error")
        outcome(Status.CONVERGED).check("warn")


def test_the_warning_names_the_line_that_asked_for_the_solve() -> None:
    def solve_and_check() -> None:
        outcome(Status.DIVERGED).check("warn")

    with pytest.warns(ConvergenceWarning) as caught:
        solve_and_check()
    first = solve_and_check.__code__.co_firstlineno
    assert (caught[0].filename, caught[0].lineno) == (__file__, first + 4)


def test_statuses_fit_into_a_tensor_comparison() -> None:
    codes = torch.tensor([int(s) for s in Status])
    assert ((codes == Status.CONVERGED).sum(), codes.dtype) == (1, torch.int64)
