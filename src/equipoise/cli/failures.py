"""Errors as one plain message on standard error, and an exit code that says what kind it was."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn, TextIO

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from equipoise.errors import (
    ConvergenceError,
    ConvergenceWarning,
    EquipoiseError,
    InputError,
    OutputWarning,
    UsageError,
    WeightsError,
)


class ExitCode(IntEnum):
    """What the program's exit code means."""

    OK = 0
    UNEXPECTED = 1
    BAD_USE = 2
    BAD_INPUT = 3
    NOT_CONVERGED = 4
    INTERRUPTED = 130
    TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """Another process asked this one to end (SIGTERM)."""


@contextmanager
def plain_errors(debug: bool) -> Iterator[None]:
    """Turn errors into a message and an exit code.

    Args:
        debug: let errors through with their traceback.

    Raises:
        typer.Exit: with the code of :class:`ExitCode` that suits the error.
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        terminated = isinstance(interruption, Terminated)
        said = "Terminated" if terminated else "Interrupted"
        complain(f"{said}. What had been written stays; checkpoints can be continued.")
        raise typer.Exit(ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED) from None
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except Exception as error:
        if debug:
            raise
        complain(message_of(error))
        raise typer.Exit(exit_code(error)) from error


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise :class:`Terminated`, so that what is open is closed and held is let go."""

    def terminate(number: int, frame: object) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of signals
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Say warnings of ours as one plain message, without the place in the code."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, (OutputWarning, ConvergenceWarning)):
                _say("Warning: ", "bold yellow", str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def complain(message: str) -> None:
    """Print one message on standard error, without breaking its lines."""
    _say("Error: ", "bold red", message)


def _say(head: str, style: str, message: str) -> None:
    text = Text.assemble((head, style), message)
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def exit_code(error: Exception) -> ExitCode:
    """The exit code of an error.

    Bad use: names and combinations; bad input: data and files; then non-convergence.
    """
    if isinstance(error, ValidationError):
        causes = [cause for problem in error.errors() if (cause := _cause(problem)) is not None]
        return exit_code(causes[0]) if causes else ExitCode.BAD_USE
    if isinstance(error, UsageError):
        return ExitCode.BAD_USE
    if isinstance(error, (InputError, WeightsError)):
        return ExitCode.BAD_INPUT
    if isinstance(error, ConvergenceError):
        return ExitCode.NOT_CONVERGED
    if isinstance(error, OSError):  # OutputError is one of them
        return ExitCode.BAD_INPUT
    return ExitCode.UNEXPECTED


def message_of(error: Exception) -> str:
    """What is said about an error."""
    if isinstance(error, EquipoiseError):
        return _words(error)
    if isinstance(error, ValidationError):
        return _invalid_settings(error)
    if isinstance(error, OSError):
        place = f" ('{error.filename}')" if error.filename else ""
        return f"{error.strerror or error}{place}. Check the path and its permissions."
    return (
        f"Unexpected {type(error).__name__}: {str(error).rstrip('.')}. "
        "Run the command again with --debug to see where it came from."
    )


def _words(error: Exception) -> str:
    return " ".join(str(part) for part in error.args)


def _invalid_settings(error: ValidationError) -> str:
    """One sentence per setting that pydantic refused, under the option's name."""
    sentences = []
    for problem in error.errors():
        cause = _cause(problem)
        if cause is not None:
            sentences.append(_words(cause))
            continue
        option = "-".join(str(part) for part in problem["loc"][:1]).replace("_", "-")
        sentences.append(f"--{option}: {problem['msg']}, got {problem['input']!r}.")
    return " ".join(sentences)


def _cause(problem: Mapping[str, Any]) -> EquipoiseError | None:
    """The error that a check of ours raised."""
    cause = problem.get("ctx", {}).get("error")
    return cause if isinstance(cause, EquipoiseError) else None
