from .records import CaseRecord as CaseRecord
from .records import Number as Number
from .records import Panel as Panel
from .records import Series as Series
from .records import StudyRecord as StudyRecord
from .run import STUDIES as STUDIES
from .run import run_study as run_study
from .settings import StudySettings as StudySettings
