from .records import Comparison as Comparison
from .records import RunResult as RunResult
from .records import RunSummary as RunSummary
from .records import TaskResult as TaskResult
from .run import Observer as Observer
from .run import run_comparison as run_comparison
from .settings import CompareSettings as CompareSettings
