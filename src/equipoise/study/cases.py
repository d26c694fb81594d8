"""What a study runs on: physics, regulariser and images, all in float64."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.problems.problem import observed
from equipoise.regularizers import Regularizer
from equipoise.status import Status
from equipoise.study.images import study_images
from equipoise.study.operators import operator_by_name
from equipoise.study.records import CaseRecord
from equipoise.study.regularizers import regularizer_by_name
from equipoise.study.settings import LOADED, OWN, StudySettings


@dataclass(frozen=True, eq=False)
class Case:
    """One physics with one regulariser.

    Args:
        physics_name: for example ``inpaint``.
        regularizer_name: for example ``contractive``.
        physics: A in float64.
        regularizer: R in float64, its parameters fixed.
        images: ground truths, shape (N, C, H, W), values in [0, 1].
        image_names: what they are called, N of them.
        learning: other images, shape (M, C, H, W), for what may be fitted.
        description: one sentence on both.
        notes: what is odd about the files of the images.
    """

    physics_name: str
    regularizer_name: str
    physics: LinearPhysics
    regularizer: Regularizer
    images: Tensor
    image_names: tuple[str, ...]
    learning: Tensor
    description: str
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """Both names."""
        return f"{self.physics_name}, {self.regularizer_name}"

    def record(self, statuses: Collection[Status], **found: Any) -> CaseRecord:
        """What a study found here with solves of these statuses; the other fields of the record."""
        return CaseRecord(
            physics=self.physics_name,
            regularizer=self.regularizer_name,
            description=self.description,
            unsolved=sum(status is not Status.CONVERGED for status in statuses),
            solves=len(statuses),
            monotone=self.regularizer.traits().monotone,
            **found,
        )

    def observed(self, noise: Tensor) -> Tensor:
        """Noise with the entries that the physics never sees set to zero.

        For a mask these are the missing pixels: noise there would not reach the equation, and
        would count in its norm all the same.

        Args:
            noise: a tensor of the shape of the data, (B, ...).
        """
        return observed(self.physics, self.images[:1], noise)


def chosen_names(
    settings: StudySettings, physics: tuple[str, ...], regularizers: tuple[str, ...]
) -> list[tuple[str, str]]:
    """The names of physics and regulariser of every case; arguments as of :func:`cases`."""
    places = settings.physics or ((OWN,) if settings.task is not None else physics)
    fields = settings.regularizers or ((LOADED,) if settings.weights is not None else regularizers)
    return [(place, field) for place in places for field in fields]


def cases(
    settings: StudySettings, physics: tuple[str, ...], regularizers: tuple[str, ...]
) -> list[Case]:
    """Every chosen physics with every chosen regulariser.

    Without a choice they are the study's; with a task they are its physics, with a weights file its
    regulariser.

    Args:
        settings: of the study.
        physics: names of the study's default physics.
        regularizers: names of its default regularisers.

    Raises:
        InputError: if images or a physics cannot be used.
        WeightsError: if the weights cannot be read.
    """
    names = chosen_names(settings, physics, regularizers)
    chosen = dict.fromkeys(place for place, _ in names)
    fields = [
        (name, regularizer_by_name(name, settings)) for name in dict.fromkeys(n for _, n in names)
    ]
    # A field for grayscale images acts on grayscale ones; one for c channels needs c.
    colour = any((regularizer.channels or 1) == 3 for _, (regularizer, _) in fields)
    images = study_images(settings, colour=colour)
    found = []
    for place in chosen:
        operator, what = operator_by_name(place, tuple(images.test.shape[1:]), settings)
        for name, (regularizer, words) in fields:
            shown = (images.test, images.names, images.learning)
            words = f"{what} {words}"
            found.append(Case(place, name, operator, regularizer, *shown, words, images.notes))
    return found
