"""Options from a YAML file: defaults that the command line overrides."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperOption

from equipoise.cli.yaml_text import from_yaml
from equipoise.decoding import decoding
from equipoise.errors import InputError, UnknownNameError, UsageError

#: Options that make no sense inside the file.
_NOT_IN_FILES = ("help", "config")


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML file of options.

    Args:
        path: file whose top level maps option names to values.

    Raises:
        InputError: if it cannot be read or is not YAML.
        UsageError: if its top level is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"Cannot read the configuration '{path}': {reason}.") from error
    with _decoding(path):
        content = from_yaml(text)
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise UsageError(
                f"'{path}' must map option names to values, one per line, for example 'steps: 300'."
            )
        return {str(key): value for key, value in content.items()}


def _decoding(path: Path) -> AbstractContextManager[None]:
    return decoding(path, "configuration", remedy="write option names and values in YAML")


def as_defaults(content: Mapping[str, Any], options: Mapping[str, TyperOption]) -> dict[str, Any]:
    """Turn the file's entries into defaults of a command.

    Args:
        content: option names, with ``-`` or ``_``, and values.
        options: those of the command by their names with ``-``.

    Raises:
        UnknownNameError: for a key that is no option; the message offers the nearest.
        UsageError: if a key stands twice, or a list is given where one value is expected.
    """
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        name = key.lstrip("-").replace("_", "-")
        if name not in options:
            raise UnknownNameError("option in the configuration", key, options)
        parameter = str(options[name].name)
        if parameter in defaults:
            raise UsageError(f"The configuration sets '{key}' twice.")
        if value is not None:
            several = options[name].multiple
            defaults[parameter] = _as_list(value) if several else _as_scalar(key, value)
    return defaults


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of ``--config``: make the file's entries the defaults of this command."""
    from equipoise.cli.failures import plain_errors

    if path is not None and not context.resilient_parsing:
        with plain_errors(debug=False):
            context.default_map = defaults_of(path, long_options(context.command))
    return path


def defaults_of(path: Path, options: Mapping[str, TyperOption]) -> dict[str, Any]:
    """What a YAML file says, as defaults of a command.

    Raises:
        InputError: if it cannot be read or is not YAML.
        UsageError: if it says what no option of the command is.
    """
    with _decoding(path):
        return as_defaults(read_config(path), options)


def long_options(command: Any) -> dict[str, TyperOption]:
    """The long options of a command (of click) that may stand in the file."""
    options = [option for option in command.params if isinstance(option, TyperOption)]
    found = {flag.removeprefix("--"): option for option in options for flag in option.opts}
    return {name: option for name, option in found.items() if name not in _NOT_IN_FILES}


def _as_scalar(key: str, value: Any) -> str | bool:
    if isinstance(value, (list, dict)):
        raise UsageError(f"The configuration's '{key}' takes one value, got several.")
    return value if isinstance(value, bool) else str(value)


def _as_list(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}={entry}" for name, entry in value.items()]
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]
