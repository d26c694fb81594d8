"""What a setting says of itself: type, range, default, words, and how the command line shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from equipoise.errors import UnknownNameError

PROBLEM = "The problem"
LEARNING = "Learning"
SOLVING = "Solving"
OUTPUT = "Running and output"
#: The headings of help, in its order.
PANELS = (PROBLEM, LEARNING, SOLVING, OUTPUT)


@dataclass(frozen=True)
class Shown:
    """An option of the command line that sets a field; stands among the field's annotations.

    A field without it has no option, one with two can be set in two ways, of which one is used.

    Args:
        metavar: what help writes for the value.
        panel: heading of help under which the option stands.
        name: of the option, with underscores; None is the field's.
        typed: type of the value; None is the field's.
        help: what the option does; None is the field's description.
        least: smallest value; None is the field's.
        most: largest value, likewise.
        default: words for the default, where the field's default does not say it.
        instead_of: field that is not set together with this one.
    """

    metavar: str
    panel: str
    name: str | None = None
    typed: type | None = None
    help: str | None = None
    least: float | None = None
    most: float | None = None
    default: str | None = None
    instead_of: str | None = None


class Settings(BaseModel):
    """Settings that are checked once: immutable, finite, of known names.

    The description of a field is the text below it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _known_name(cls, value: Any, info: ValidationInfo) -> Any:
        """Answer an unknown name with the nearest one."""
        assert info.field_name is not None
        valid = list(_literals(cls.model_fields[info.field_name].annotation))
        if valid and isinstance(value, str) and value not in valid:
            raise UnknownNameError(info.field_name, value, valid)
        return value


def _literals(annotation: Any) -> Iterator[str]:
    """The names of ``Literal["a", "b"] | None``."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _literals(part)


def options_of(field: FieldInfo) -> list[Shown]:
    """The options of a field."""
    return [entry for entry in field.metadata if isinstance(entry, Shown)]


def option_name(name: str, field: FieldInfo, shown: Shown) -> str:
    """The name of an option as a parameter's, for example ``mask_fraction``."""
    return shown.name or field.alias or name


def flag(name: str) -> str:
    """An option as it is typed, for example ``--mask-fraction``."""
    return "--" + name.replace("_", "-")


Data = Annotated[
    str | None,
    Field(description="Folder of images to learn from. Default: the embedded photographs."),
    Shown("FOLDER", PROBLEM),
]
ValidationCrop = Annotated[
    int,
    Field(ge=16, description="Side of the validation images' central crops."),
    Shown("PIXELS", LEARNING),
]
Seed = Annotated[int, Field(ge=0, description="Seed of everything random."), Shown("K", OUTPUT)]
Device = Annotated[str, Field(description="Where to compute."), Shown("auto|cpu|cuda", OUTPUT)]
