"""The comparison of bilevel learning and deep equilibrium models on one problem."""

from .records import Comparison, RunResult, RunSummary, TaskResult
from .run import Observer, run_comparison
from .settings import CompareSettings

__all__ = [
    "CompareSettings",
    "Comparison",
    "Observer",
    "RunResult",
    "RunSummary",
    "TaskResult",
    "run_comparison",
]
