"""The user's own operator: a function, named on the command line, that returns a physics."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from deepinv.physics import LinearPhysics

from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.problems.problem import Shape


@dataclass(frozen=True)
class UserPhysics:
    """A user's function of the image shape, which another process imports again.

    Args:
        reference: the text that names it.
        function: the function.
        takes_shape: whether it takes the image shape.
    """

    reference: str
    function: Callable[..., Any]
    takes_shape: bool

    def __reduce__(self) -> tuple[Any, ...]:
        return load_user_physics, (self.reference,)

    def __call__(self, image_shape: Shape) -> LinearPhysics:
        """Build the physics for images (C, *spatial).

        Raises:
            InputError: if the function fails.
            UsageError: if it returns something else.
        """
        try:
            built = self.function(image_shape) if self.takes_shape else self.function()
        except Exception as error:  # a user's function may raise anything
            raise InputError(
                f"{self.reference} failed for images of shape {image_shape}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(built, LinearPhysics):
            raise UsageError(
                f"{self.reference} must return a deepinv.physics.LinearPhysics, "
                f"it returned {type(built).__name__}."
            )
        return built


def load_user_physics(reference: str) -> UserPhysics:
    """Import the function that a text names, as a function of the image shape.

    ``"module:function"`` is looked up in the current folder and on Python's path,
    ``"folder/file.py:function"`` in a file.
    The function returns a deepinv linear physics; it is called with the image shape (C, *spatial)
    if it takes an argument, and without otherwise. Hand the result to
    :func:`~equipoise.problems.from_physics`, which checks linearity and adjointness.

    Raises:
        UsageError: if the text is not of that form, or the function returns something else.
        UnknownNameError: if the module has no such function.
        InputError: if the module cannot be imported, or the function fails.
    """
    source, colon, name = reference.rpartition(":")
    if not (colon and source and name.isidentifier()):
        raise UsageError(
            f"Cannot read the physics '{reference}': write module:function or file.py:function."
        )
    module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    function = getattr(module, name, None)
    if not callable(function):
        public = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UnknownNameError(f"function of '{source}'", name, public)
    return UserPhysics(reference, function, _takes_argument(function))


def _load_module(name: str) -> ModuleType:
    here = str(Path.cwd())
    sys.path.insert(0, here)  # an installed program does not look there by itself
    try:
        return importlib.import_module(name)
    except Exception as error:  # importing runs the user's code
        raise InputError(
            f"Cannot import the module '{name}': {type(error).__name__}: {error}. "
            "Modules are looked up in this folder and on Python's path; a file is written "
            "folder/file.py:function."
        ) from error
    finally:
        sys.path.remove(here)  # what is imported may have put another one before


def _load_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise InputError(f"There is no Python file '{file}'.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise InputError(f"'{file}' is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # importing runs the user's code
        raise InputError(f"Cannot run '{file}': {type(error).__name__}: {error}") from error
    return module


def _takes_argument(function: Callable[..., object]) -> bool:
    """Whether the function has a positional parameter."""
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    return any(p.kind in kinds for p in inspect.signature(function).parameters.values())
