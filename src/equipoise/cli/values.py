"""Values as users type them: lists of names, durations, alternatives."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from equipoise.cli.yaml_text import from_yaml
from equipoise.decoding import said
from equipoise.errors import UsageError
from equipoise.settings.setting import flag

_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|sec|m|min|h)?\s*", re.IGNORECASE)
#: Several values without brackets.
_LIST = re.compile(r"[^\[\]{}\"',]+(,[^\[\]{}\"',]+)+")
_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

#: Steps of a run that is limited by time.
UNLIMITED_STEPS = 1_000_000


def names(values: Iterable[str] | None) -> tuple[str, ...] | None:
    """Split ``["a,b", "c"]`` into ``("a", "b", "c")``, each once; None stays None."""
    if values is None:
        return None
    split = [name.strip() for value in values for name in value.split(",")]
    return tuple(dict.fromkeys(name for name in split if name)) or None


def duration(text: str | None) -> float | None:
    """Seconds of ``120``, ``120s``, ``2m`` or ``1h``; None stays None.

    Raises:
        UsageError: if the text is none of these, or not positive.
    """
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[(match[2] or "s").lower()] if match else 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"'{text}' is not a duration; write 120s, 2m, 1h or plain seconds.")
    return seconds


def arguments(pairs: Iterable[str] | None) -> dict[str, Any]:
    """Constructor arguments from ``["filters=32", "activation=relu"]``; values are YAML, and
    ``filters=4,8,60`` a list.

    Raises:
        UsageError: if an entry is not of the form ``name=value``.
    """
    found: dict[str, Any] = {}
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"'{pair}' is not of the form name=value, for example filters=32.")
        try:
            listed = _LIST.fullmatch(value) is not None
            found[name.strip().replace("-", "_")] = from_yaml(f"[{value}]" if listed else value)
        except Exception as error:  # the parser raises more than its own errors
            raise UsageError(f"The value in '{pair}' cannot be read: {said(error)}.") from error
    return found


def one_of(context: typer.Context, **given: Any) -> dict[str, Any]:
    """Settle options that exclude each other; the command line wins over the file.

    Args:
        context: of the command, knows where each value came from.
        given: parameter names and values, None where the option was not used.

    Returns:
        The same names; at most one value is not None.

    Raises:
        UsageError: if two of them stand on the command line, or two in the file.
    """
    used = [name for name, value in given.items() if value is not None]
    typed = [name for name in used if is_typed(context, name)]
    keep = typed or used
    if len(keep) > 1:
        options = " and ".join(flag(name) for name in keep)
        raise UsageError(f"{options} exclude each other; give one of them.")
    lost = [name for name in used if name not in keep]
    context.params.update(dict.fromkeys(lost))  # for whoever writes down the command
    return {name: value if name in keep else None for name, value in given.items()}


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line (and not in the file or as a default)."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def typed_command(context: typer.Context) -> str:
    """The command with every option that was given, in the file or on the command line."""
    words = ["equipoise", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        value = context.params.get(name)
        if name == "config" or source is None or value is None:
            continue
        if source.name not in ("COMMANDLINE", "DEFAULT_MAP"):
            continue
        flag = parameter.opts[0]
        if parameter.param_type_name == "argument":
            words += map(str, value if isinstance(value, (list, tuple)) else [value])
        elif isinstance(value, bool):
            words += [flag] if value else []
        else:
            values = value if isinstance(value, (list, tuple)) else [value]
            words += [word for entry in values for word in (flag, str(entry))]
    return shlex.join(words)


def limited(given: dict[str, Any]) -> dict[str, Any]:
    """Training settings with a time budget in seconds, which alone then ends training.

    Raises:
        UsageError: if the budget is no duration.
    """
    seconds = duration(given.get("time_budget"))
    if seconds is None:
        return given
    return {**given, "time_budget": seconds, "steps": UNLIMITED_STEPS}


def allow_working_folder() -> None:
    """Let modules in the working folder be imported, as Python itself does for scripts.

    Only for commands that name an operator: others run no code of that folder.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
