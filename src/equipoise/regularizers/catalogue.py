"""Regularisers by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equipoise.errors import UnknownNameError, UsageError
from equipoise.regularizers.base import Regularizer


def _classes() -> dict[str, type[Regularizer]]:
    """Every regulariser in the modules beside this one that has a name."""
    found: dict[str, type[Regularizer]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name in ("catalogue", "io"):
            continue
        for cls in vars(importlib.import_module(f"{__package__}.{module.name}")).values():
            if isinstance(cls, type) and issubclass(cls, Regularizer) and cls.catalogue_name:
                found[cls.catalogue_name] = cls
    return found


CLASSES = _classes()

#: Name -> another name with an argument fixed.
_PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "crr": ("ridge", {"weak_convexity": 0.0}),
    "wcrr": ("ridge", {"weak_convexity": 1.0}),
}

#: All names that :func:`build` takes.
NAMES = tuple(sorted([*CLASSES, *_PRESETS]))


def build(name: str, **config: Any) -> Regularizer:
    """Make the regulariser of that name.

    ``build(**regularizer.config)`` makes one like a given one, with fresh parameters.

    Args:
        name: one of :data:`NAMES`.
        config: arguments of its constructor; where it takes regularisers (``"scaled"``, ``"sum"``)
            their configurations, ``inner={"name": ..., ...}``.

    Returns:
        A new :class:`Regularizer`.

    Raises:
        UnknownNameError: if there is no such name; the message offers the nearest.
        UsageError: if an argument is missing or does not exist; the message lists the valid ones.
    """
    if name in _PRESETS:
        name, fixed = _PRESETS[name]
        config = {**fixed, **config}
    if name not in CLASSES:
        raise UnknownNameError("regularizer", name, NAMES)
    return _call(name, CLASSES[name], {key: _built(key, value) for key, value in config.items()})


def _built(key: str, value: Any) -> Any:
    """An argument with regularisers in place of their configurations."""
    if isinstance(value, list):
        return [_built(key, entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "name" not in value:
        raise UsageError(
            f"'{key}' takes the configuration of a regularizer: {key}={{'name': 'tv', ...}}."
        )
    return build(**value)


#: What arguments without a default may be.
_EXAMPLES = {"inner": "{name: tv}", "parts": "[{name: tv}, {name: crr}]"}


def _call(name: str, make: Callable[..., Regularizer], config: dict[str, Any]) -> Regularizer:
    """Call a constructor; answer arguments that do not fit with those that do."""
    signature = inspect.signature(make)
    for key in config:
        if key not in signature.parameters:
            near = difflib.get_close_matches(key, signature.parameters, n=1, cutoff=0.4)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            valid = ", ".join(signature.parameters) or "none"
            raise UsageError(f"'{name}' takes no argument '{key}'.{hint} Valid: {valid}.")
    required = (p for p in signature.parameters.values() if p.default is p.empty)
    missing = [parameter for parameter in required if parameter.name not in config]
    if missing:
        examples = " and ".join(f"{p.name}={_EXAMPLES.get(p.name, '...')}" for p in missing)
        raise UsageError(f"'{name}' needs {examples}.")
    try:
        return make(**config)
    except TypeError as error:
        raise UsageError(f"'{name}' cannot be built: {error}. Usage: {name}{signature}.") from error
