"""Options of the command line, made from the fields of settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import OptionInfo

from equipoise.cli.config import load_config
from equipoise.cli.failures import plain_errors, plain_warnings, terminable
from equipoise.cli.values import arguments, names, one_of
from equipoise.environment import new_run
from equipoise.settings.setting import OUTPUT, PANELS, Shown, option_name, options_of
from equipoise.threads import choose_threads, leave_room

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
#: What users gave for the fields of a model, on the command line or in the file.
Given = dict[str, Any]

Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace existing outputs.", rich_help_panel=OUTPUT),
]


def _of_every_command(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="YAML file with any of these options (time-budget: 2m); the command line wins.",
            callback=load_config,
            is_eager=True,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processor threads. Default: those of OMP_NUM_THREADS, otherwise as many as are "
            "fastest and as other programs leave; a seed gives the same digits with a number.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks of errors.", rich_help_panel=OUTPUT),
    ] = False,
) -> None:
    """The options that every command has."""


@dataclass(frozen=True)
class _Option:
    """One option that sets a field."""

    name: str
    field: str
    info: FieldInfo
    shown: Shown

    @property
    def typed(self) -> Any:
        """The type of what is typed: texts for tuples and mappings, a text for all but numbers."""
        if self.shown.typed is not None:
            return self.shown.typed
        kinds = [kind for kind in _members(self.info.annotation) if kind is not NoneType]
        if get_origin(kinds[0]) in (tuple, dict):
            return list[str]
        return next((kind for kind in (bool, int, float) if kind in kinds), str)

    @property
    def choice(self) -> str:
        """The name of what only one option may set."""
        return self.shown.instead_of or self.field

    def parameter(self) -> inspect.Parameter:
        """The option as typer reads it from a signature."""
        option = typer.Option(
            metavar=self.shown.metavar or None,
            help=self._words(),
            rich_help_panel=self.shown.panel,
            min=self._limit(self.shown.least, Ge, "ge"),
            max=self._limit(self.shown.most, Le, "le"),
        )
        kind = self.typed | None
        return inspect.Parameter(
            self.name, _KEYWORD, default=None, annotation=Annotated[kind, option]
        )

    def _words(self) -> str:
        """What help says: the field's description and its default."""
        words = self.shown.help or " ".join(str(self.info.description).split())
        default = self.shown.default or self._default()
        return f"{words} Default: {default}." if default else words

    def value(self, typed: Any) -> Any:
        """The field's value of what was typed."""
        if isinstance(typed, list):
            mapping = get_origin(self.info.annotation) is dict
            return arguments(typed) if mapping else names(typed)
        return typed if self.shown.typed is None else str(typed)

    def _default(self) -> str:
        value = self.info.default
        if value is PydanticUndefined or value in (None, {}):
            return ""
        if isinstance(value, bool):
            return self.name if value else f"no-{self.name}"
        return ", ".join(value) if isinstance(value, tuple) else str(value)

    def _limit(self, own: float | None, kind: type, attribute: str) -> Any:
        if own is not None or self.shown.typed is not None:
            return own
        found = [getattr(e, attribute) for e in self.info.metadata if isinstance(e, kind)]
        return found[0] if found else None


@dataclass(frozen=True)
class OptionsOf:
    """Marks a parameter of a command that stands for the options of a model.

    The command is given a dictionary of the fields that the user set.

    Args:
        model: the settings.
        without: fields whose options the command does not have.
    """

    model: type[BaseModel]
    without: tuple[str, ...] = ()

    def options(self) -> Iterator[_Option]:
        """Every option, in the order of the fields."""
        for name, info in self.model.model_fields.items():
            for shown in options_of(info) if name not in self.without else ():
                yield _Option(option_name(name, info, shown), name, info, shown)

    def given(self, context: typer.Context, values: dict[str, Any]) -> Given:
        """Take the options out of the command's values; of those that exclude each other one.

        Raises:
            UsageError: if two that exclude each other are given.
        """
        options = list(self.options())
        typed = {option.name: values.pop(option.name) for option in options}
        for choice in dict.fromkeys(option.choice for option in options):
            together = [option.name for option in options if option.choice == choice]
            typed |= one_of(context, **{name: typed[name] for name in together})
        found = {o.field: o.value(typed[o.name]) for o in options if typed[o.name] is not None}
        return {name: value for name, value in found.items() if value is not None}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--config``, ``--debug`` and plain errors, and models their options.

    A parameter that is annotated by :class:`OptionsOf` becomes the options of the model.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, OptionsOf] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        marks = get_args(parameter.annotation)
        group = next((mark for mark in marks if isinstance(mark, OptionsOf)), None)
        if group is None:
            parameters.append(parameter.replace(kind=_KEYWORD))
        else:
            groups[name] = group
            parameters += [option.parameter() for option in group.options()]
    common = inspect.signature(_of_every_command, eval_str=True).parameters.values()
    parameters += [parameter.replace(kind=_KEYWORD) for parameter in common]
    parameters.sort(key=_heading)

    @functools.wraps(command)
    def run(
        context: typer.Context,
        config: Path | None,
        threads: int | None,
        debug: bool,
        **values: Any,
    ) -> None:
        with plain_errors(debug), plain_warnings(), terminable(), new_run():
            if threads is None:
                leave_room()
            else:
                choose_threads(threads)
            given = {name: group.given(context, values) for name, group in groups.items()}
            command(context=context, **values, **given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def _heading(parameter: inspect.Parameter) -> int:
    """The place of a parameter's panel in help; arguments come before all."""
    marks = get_args(parameter.annotation)[1:]
    panels = [mark.rich_help_panel for mark in marks if isinstance(mark, OptionInfo)]
    return PANELS.index(panels[0]) if panels else -1


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    alone = get_origin(annotation) in (tuple, dict)
    return (annotation,) if alone else get_args(annotation) or (annotation,)
