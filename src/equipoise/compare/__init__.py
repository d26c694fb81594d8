"""The comparison of bilevel learning and deep equilibrium models on one problem."""

from equipoise.compare.records import Comparison, RunResult, RunSummary, TaskResult
from equipoise.compare.run import Observer, run_comparison
from equipoise.compare.settings import CompareSettings

__all__ = [
    "CompareSettings",
    "Comparison",
    "Observer",
    "RunResult",
    "RunSummary",
    "TaskResult",
    "run_comparison",
]
