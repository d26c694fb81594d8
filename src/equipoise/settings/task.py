"""Which inverse problem a user means: its name and its options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import ConfigDict, Field, field_serializer, field_validator, model_validator
from pydantic_core.core_schema import FieldSerializationInfo

from equipoise.errors import UnknownNameError, UsageError
from equipoise.settings.data_range import DataRange, data_range_from_text
from equipoise.settings.setting import PROBLEM, Settings, Shown, flag, option_name, options_of
from equipoise.settings.views import views_from_text

#: The tasks of the comparison unless others are named: those of Riccio, Ehrhardt and Benning.
USUAL_TASKS = ("denoise", "inpaint", "deblur")
#: The tasks that have a name of their own.
TASKS = (*USUAL_TASKS, "tomography")
#: Word for a user's own operator.
OWN = "physics"


@dataclass(frozen=True)
class Of:
    """The only task that a field belongs to; stands among the field's annotations.

    Args:
        task: its name.
    """

    task: str


@runtime_checkable
class Content(Protocol):
    """What a file held, in place of a name: a mask or a kernel of :mod:`equipoise.problems`."""

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        ...


class Task(Settings):
    """One inverse problem as users name it: in weights files, in commands, for ``pose``.

    Texts are names with numbers and never paths: what an image file held stands here by content.
    None is the task's own choice. Records and the command line call the name ``task``.

    Raises:
        pydantic.ValidationError: for an unknown name, an option that does not belong to the task,
            angles that cannot be read, or the task physics without an operator.
    """

    model_config = ConfigDict(
        strict=True,
        arbitrary_types_allowed=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    name: Annotated[str, Shown("|".join(TASKS), PROBLEM)] = Field(alias="task")
    """The inverse problem. Default: that of the weights, or denoise."""
    noise: Annotated[float | None, Shown("S", PROBLEM)] = Field(None, ge=0)
    """Standard deviation of the noise, in the numbers of --data-range. Default: the task's own."""
    data_range: Annotated[str | None, Shown("WHITE|BLACK:WHITE", PROBLEM)] = None
    """Which numbers of the files are black and white: 255, 4095 (12 bits in 16), -1000:3000.
    Default: what the files say, otherwise 0 and their type's largest integer, or 0 and 1."""
    mask: Annotated[
        str | Content | None,
        Of("inpaint"),
        Shown("IMAGE", PROBLEM),
        Shown(
            "F",
            PROBLEM,
            name="mask_fraction",
            typed=float,
            help="inpaint: share of the pixels that are known, at random places.",
            least=0.0,
            most=1.0,
        ),
    ] = None
    """inpaint: image whose white pixels are known, those of one other colour missing; rows:0.5 for
    known rows; nan where measured files have NaN for missing pixels; or a folder with one for each
    image, of the same name."""
    kernel: Annotated[str | Content | None, Of("deblur"), Shown("IMAGE|NAME:SIZE", PROBLEM)] = None
    """deblur: motion:9, gaussian:1.5, or an image of the kernel: a convolution, centre at
    (h // 2, w // 2) as in scipy.ndimage."""
    angles: Annotated[str | None, Of("tomography"), Shown("N|N:FROM-TO|FILE", PROBLEM)] = None
    """tomography: 30 directions over 0 to 180 degrees, 60:0-120 for a limited range, 720:0-360 for
    a whole turn, a list of degrees (0,10,25.5), or a text file or NumPy array of them.
    Default: 30."""
    physics: Annotated[str | None, Of(OWN), Shown("MODULE:FUNCTION", PROBLEM)] = None
    """Your own operator instead of a task: a function that returns a deepinv linear physics. It is
    checked for adjointness."""
    unit_size: Annotated[tuple[int, int] | None, Of("tomography")] = None
    """(H, W) of the images for which a tomograph has norm 1; None is their own."""

    @field_validator("unit_size", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        """Pairs are lists in JSON."""
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Task:
        if self.name not in (*TASKS, OWN):
            raise UnknownNameError("task", self.name, TASKS)
        if self.name == OWN and self.physics is None:
            raise UsageError("The task physics needs your operator: --physics module:function.")
        given = [key for key, value in self if value is not None]
        refuse_idle(type(self), given, (self.name,))
        if self.angles is not None:
            views_from_text(self.angles)
        if self.name in USUAL_TASKS and (self.noise or 0.0) > self.span:
            raise UsageError(
                f"Noise of {self.noise:g} is more than white minus black, {self.span:g}, which "
                "leaves nothing to see: --noise is in the numbers of --data-range (for 8 bits add "
                f"--data-range 255, or write --noise {(self.noise or 0.0) / 255:.3g})."
            )
        return self

    @property
    def range(self) -> DataRange | None:
        """What ``data_range`` says, or None."""
        return None if self.data_range is None else data_range_from_text(self.data_range)

    @property
    def span(self) -> float:
        """White minus black: what ``noise`` is divided by where images are in [0, 1]."""
        return 1.0 if self.range is None else self.range.width

    @field_serializer("mask", "kernel", when_used="json")
    def _described(self, value: str | Content | None, info: FieldSerializationInfo) -> str | None:
        return value.description if isinstance(value, Content) else value

    def scaled_for(self, side: int) -> Task:
        """The task with the scale of a tomograph fixed: norm 1 for squares of that side.

        What is learned then has the right strength for images of every size, see
        :func:`~equipoise.problems.tomography.tomography`. Other tasks have no such scale.
        """
        if self.name != "tomography" or self.unit_size is not None:
            return self
        return self.model_copy(update={"unit_size": (side, side)})


def belongs(model: type[Settings], field: str, task: str) -> bool:
    """Whether a field of a model may be set for a task of that name."""
    entries = model.model_fields[field].metadata
    return all(entry.task == task for entry in entries if isinstance(entry, Of))


def refuse_idle(model: type[Settings], given: Iterable[str], tasks: Iterable[str]) -> None:
    """Refuse fields that would be without effect.

    Args:
        model: the settings.
        given: names of fields that are set.
        tasks: names of tasks.

    Raises:
        UsageError: if a field belongs to none of the tasks.
    """
    for name in given:
        if any(belongs(model, name, task) for task in tasks):
            continue
        field = model.model_fields[name]
        flags = [flag(option_name(name, field, shown)) for shown in options_of(field)]
        (owner,) = (entry.task for entry in field.metadata if isinstance(entry, Of))
        verb = "belongs" if len(flags) < 2 else "belong"
        raise UsageError(f"{' and '.join(flags or [name])} {verb} to --task {owner}.")
