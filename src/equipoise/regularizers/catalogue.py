"""Regularisers by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from equipoise.errors import UnknownNameError, UsageError
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.scaled import Scaled

_PACKAGE = "equipoise.regularizers"

#: Name -> module and class; imported when first built.
_CLASSES = {
    "contractive": ("contractive", "ContractiveResidual"),
    "fields-of-experts": ("experts", "FieldsOfExperts"),
    "ridge": ("ridge", "RidgeRegularizer"),
    "tied-conv": ("pairs", "TiedConvPair"),
    "tied-dense": ("pairs", "DenseTiedPair"),
    "tikhonov": ("classical", "Tikhonov"),
    "tv": ("classical", "SmoothedTotalVariation"),
    "untied-conv": ("pairs", "UntiedConvPair"),
    "untied-dense": ("pairs", "DenseUntiedPair"),
}

#: Name -> another name with an argument fixed.
_PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "crr": ("ridge", {"weak_convexity": 0.0}),
    "wcrr": ("ridge", {"weak_convexity": 1.0}),
}

#: All names that :func:`build` takes.
NAMES = tuple(sorted([*_CLASSES, *_PRESETS, Scaled.catalogue_name]))


def build(name: str, **config: Any) -> Regularizer:
    """Make the regulariser of that name.

    ``build(**regularizer.config)`` makes one like a given one, with fresh parameters.

    Args:
        name: one of :data:`NAMES`.
        config: arguments of its constructor; ``"scaled"`` takes the configuration of the inner
            regulariser as ``inner={"name": ..., ...}``.

    Returns:
        A new :class:`Regularizer`.

    Raises:
        UnknownNameError: if there is no such name; the message offers the nearest.
        UsageError: if an argument is missing or does not exist; the message lists the valid ones.
    """
    if name == Scaled.catalogue_name:
        return _call(name, _scaled, config)
    if name in _PRESETS:
        name, fixed = _PRESETS[name]
        config = {**fixed, **config}
    if name not in _CLASSES:
        raise UnknownNameError("regularizer", name, NAMES)
    module, cls = _CLASSES[name]
    return _call(name, getattr(importlib.import_module(f"{_PACKAGE}.{module}"), cls), config)


def _scaled(inner: dict[str, Any], strength: float = 1.0, scale: float = 1.0) -> Regularizer:
    if not isinstance(inner, dict) or "name" not in inner:
        raise UsageError(
            "'scaled' needs the configuration of the regularizer that it scales: "
            "inner={'name': 'tv', ...}."
        )
    return Scaled(build(**inner), strength, scale)


def _call(name: str, make: Callable[..., Regularizer], config: dict[str, Any]) -> Regularizer:
    """Call a constructor; answer arguments that do not fit with those that do."""
    signature = inspect.signature(make)
    for key in config:
        if key not in signature.parameters:
            near = difflib.get_close_matches(key, signature.parameters, n=1, cutoff=0.4)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            valid = ", ".join(signature.parameters) or "none"
            raise UsageError(f"'{name}' takes no argument '{key}'.{hint} Valid: {valid}.")
    try:
        return make(**config)
    except TypeError as error:
        raise UsageError(f"'{name}' cannot be built: {error}. Usage: {name}{signature}.") from error
