"""Studies: numerical experiments on what theory says of the equilibrium."""

from equipoise.study.records import CaseRecord, Number, Panel, Series, StudyRecord
from equipoise.study.run import STUDIES, run_study
from equipoise.study.settings import StudySettings

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
