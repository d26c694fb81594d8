"""Studies: numerical experiments on what theory says of the equilibrium."""

from .records import CaseRecord, Number, Panel, Series, StudyRecord
from .run import STUDIES, run_study
from .settings import StudySettings

__all__ = [
    "STUDIES",
    "CaseRecord",
    "Number",
    "Panel",
    "Series",
    "StudyRecord",
    "StudySettings",
    "run_study",
]
