"""Objects that remember the arguments they were made of."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar


class Remembered:
    """Keeps, for classes with a name in the catalogue, the arguments of their constructor.

    A subclass without a name of its own keeps those that it handed on to the named one, which is
    what can be built again by that name.
    """

    #: Name under which :func:`equipoise.regularizers.build` makes the class; None: by hand only.
    catalogue_name: ClassVar[str | None] = None
    #: The arguments by name, as they were given or are by default.
    arguments: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("catalogue_name") is not None:
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]


def _remembering(constructor: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        constructor(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        self.__dict__["arguments"] = dict(list(bound.arguments.items())[1:])

    return construct


def plain(value: Any) -> Any:
    """An argument as JSON has it: sequences as lists, what has a ``config`` as that."""
    if isinstance(value, (list, tuple, range)):
        return [plain(entry) for entry in value]
    if isinstance(value, Real) and hasattr(value, "item"):  # numpy's numbers
        return value.item()
    return getattr(value, "config", value)
