"""Which studies there are, and how one runs."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from equipoise.environment import run_id, versions
from equipoise.errors import UnknownNameError
from equipoise.modes import learning_verb
from equipoise.study.cases import Case, cases
from equipoise.study.records import CaseRecord, StudyRecord
from equipoise.study.settings import PHYSICS, StudySettings


@dataclass(frozen=True)
class Study:
    """A kind of experiment.

    Args:
        title: the question it answers.
        module: module of this package whose ``run_case(case, settings)`` returns a CaseRecord.
        physics: names of its default physics.
        regularizers: names of its default regularisers.
    """

    title: str
    module: str
    physics: tuple[str, ...] = PHYSICS
    regularizers: tuple[str, ...] = ("tikhonov", "crr", "contractive")

    @property
    def run_case(self) -> Callable[[Case, StudySettings], CaseRecord]:
        """The experiment on one case; its module is imported when first needed."""
        run: Callable[[Case, StudySettings], CaseRecord] = importlib.import_module(
            f"equipoise.study.{self.module}"
        ).run_case
        return run


_ALL = ("tikhonov", "crr", "contractive", "network")

STUDIES: dict[str, Study] = {
    "stability": Study(
        "How far can a perturbation of the data move the reconstruction?",
        "stability",
        physics=("inpaint", "blur", "sparse-view"),
        regularizers=_ALL,
    ),
    "convergence": Study(
        "Does the reconstruction converge as the noise vanishes?", "convergence", regularizers=_ALL
    ),
    "rates": Study("How fast does the error vanish with the noise?", "rates"),
    "lower-bound": Study("Which error can no noise level and no alpha go below?", "lower_bound"),
    "alpha": Study("Which rule for alpha comes nearest to the best one?", "parameter_choice"),
}


class Observer(Protocol):
    """Whoever wants to know how far a study is."""

    def started(self, label: str, total: int) -> None:
        """A case begins; ``total`` is the number of cases."""

    def finished(self, record: CaseRecord) -> None:
        """A case ended."""


@learning_verb
def run_study(
    name: str, settings: StudySettings, *, observer: Observer | None = None
) -> StudyRecord:
    """Run one study on all its cases.

    Args:
        name: one of :data:`STUDIES`.
        settings: on what and how much.
        observer: told of progress.

    Returns:
        Its record, ready for JSON and figures.

    Raises:
        UnknownNameError: if there is no such study.
        InputError: if images or the physics cannot be used.
    """
    if name not in STUDIES:
        raise UnknownNameError("study", name, STUDIES)
    study = STUDIES[name]
    began = time.perf_counter()
    chosen = cases(settings, study.physics, study.regularizers)
    records = []
    for case in chosen:
        if observer is not None:
            observer.started(case.label, len(chosen))
        records.append(study.run_case(case, settings))
        if observer is not None:
            observer.finished(records[-1])
    return StudyRecord(
        study=name,
        title=study.title,
        settings=settings.model_dump(mode="json"),
        cases=tuple(records),
        versions=versions(),
        seconds=time.perf_counter() - began,
        run=run_id(),
        notes=chosen[0].notes,
    )
