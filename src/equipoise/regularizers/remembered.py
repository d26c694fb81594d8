"""Objects that remember the arguments they were made of."""

from __future__ import annotations

import inspect
from typing import Any, Self


class Remembered:
    """Remembers the arguments of its constructor, so that another one can be made like it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the arguments; what they mean is left to ``__init__``."""
        made = super().__new__(cls)
        made.__dict__["_arguments"] = args, kwargs
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor by name, as they were given or are by default."""
        args, kwargs = self.__dict__["_arguments"]
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


def plain(value: Any) -> Any:
    """An argument as JSON has it: sequences as lists, what has a ``config`` as that."""
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return getattr(value, "config", value)
