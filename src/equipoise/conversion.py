"""Bring a user's physics to the precision of the images."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from deepinv.physics import DecomposablePhysics, LinearPhysics
from deepinv.physics.forward import adjoint_function
from torch import Tensor, nn

#: Real dtype -> the complex one of the same precision.
COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
#: Class, its method that may rest on an automatic adjoint, where that is, and of what it is one.
_AUTOMATIC = (
    (LinearPhysics, "A_adjoint", "A_adj", "A"),
    (DecomposablePhysics, "V", "_V", "V_adjoint"),
    (DecomposablePhysics, "U_adjoint", "_U_adjoint", "U"),
)
_AUTOMATIC_NAMES = tuple(name for _, _, name, _ in _AUTOMATIC)


def in_precision(
    physics: LinearPhysics, dtype: torch.dtype, image_shape: tuple[int, ...] | None = None
) -> LinearPhysics:
    """The physics itself if what it holds has the precision, otherwise a converted copy.

    Converted are tensors and dtypes wherever they are reached through attributes, lists, tuples
    and dictionaries: buffers, parameters, plain attributes, parts of a stack, objects whose methods
    A and A_adjoint are. ``physics.to(dtype)`` would miss the plain ones and turn complex tensors
    into real ones; here they stay complex. Adjoints that deepinv makes by automatic differentiation
    are for float32 or for one batch size; they are made anew for the precision and any batch. What
    a function holds inside (a closure) is out of reach. A copy, because a user's function may hand
    out the same object again and again.

    Args:
        physics: a deepinv linear physics.
        dtype: torch.float32 or torch.float64.
        image_shape: (C, *spatial), for automatic adjoints of physics that do not know it.
    """
    right = all(_converted(leaf, dtype) is leaf for _, _, leaf in _leaves(physics))
    if right and not _automatic_adjoints(physics, dtype, image_shape):
        return physics
    copy = deepcopy(physics)
    known: dict[int, object] = {}
    for holder, key, leaf in _leaves(copy):
        if _is_adjoint_function(leaf) and key not in _AUTOMATIC_NAMES:
            holder[key] = None  # a physics that keeps one from call to call makes it again
            continue
        found = known.setdefault(id(leaf), _converted(leaf, dtype))
        if found is not leaf:
            holder[key] = found
    for part, name, adjoint in _automatic_adjoints(copy, dtype, image_shape):
        setattr(part, name, adjoint)
    return copy


def in_double(y: Tensor) -> Tensor:
    """Measurements in float64 or complex128; ``y.double()`` would drop imaginary parts."""
    return y.to(torch.promote_types(y.dtype, torch.float64))


def _automatic_adjoints(
    physics: LinearPhysics, dtype: torch.dtype, image_shape: tuple[int, ...] | None
) -> list[tuple[LinearPhysics, str, _AutomaticAdjoint]]:
    """Physics, attribute and value of the adjoints that are to be made by differentiation."""
    found = []
    for part in _reached(physics):
        if not isinstance(part, LinearPhysics):
            continue
        shape = part.img_size or (image_shape if part is physics else None)
        for owner, method, name, forward in _AUTOMATIC:
            if shape is None or getattr(type(part), method, None) is not getattr(owner, method):
                continue
            made = getattr(part, name)
            if made is None or _is_adjoint_function(made):
                adjoint = _AutomaticAdjoint(getattr(part, forward), tuple(shape), dtype)
                found.append((part, name, adjoint))
    return found


class _AutomaticAdjoint:
    """``A^T y`` by differentiation of A at images of a precision; deepinv's is for float32."""

    def __init__(
        self, A: Callable[[Tensor], Tensor], image_shape: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        self.A, self.image_shape, self.dtype = A, image_shape, dtype

    def __call__(self, y: Tensor, **kwargs: Any) -> Tensor:
        shape = (len(y), *self.image_shape)
        image: Tensor = adjoint_function(self.A, shape, device=y.device, dtype=self.dtype)(y)
        return image


def _is_adjoint_function(value: object) -> bool:
    """Whether ``deepinv.physics.adjoint_function`` made it, for images of a fixed dtype."""
    owner = getattr(value, "__self__", None)
    return getattr(owner, "__qualname__", "").startswith("adjoint_function.")


def _converted(leaf: object, dtype: torch.dtype) -> object:
    """The same in the precision; the leaf itself where there is nothing to convert."""
    if isinstance(leaf, nn.Parameter):
        wanted = _target(leaf.dtype, dtype)
        same = leaf.dtype == wanted
        return leaf if same else nn.Parameter(leaf.detach().to(wanted), leaf.requires_grad)
    if isinstance(leaf, Tensor):
        return leaf.to(_target(leaf.dtype, dtype))
    if isinstance(leaf, torch.dtype):
        return _target(leaf, dtype)
    if type(leaf) is tuple:
        values = tuple(_converted(value, dtype) for value in leaf)
        unchanged = all(value is before for value, before in zip(values, leaf, strict=True))
        return leaf if unchanged else values
    return leaf


def _target(present: torch.dtype, dtype: torch.dtype) -> torch.dtype:
    if present.is_complex:
        return COMPLEX[dtype]
    return dtype if present.is_floating_point else present


def _leaves(root: object) -> list[tuple[Any, Any, object]]:
    """Holder, key and value of all that may have a precision, as far as values can be replaced."""
    found: list[tuple[Any, Any, object]] = []
    for holder in _reached(root):
        if isinstance(holder, list):
            found += [(holder, place, value) for place, value in enumerate(holder)]
        elif not isinstance(holder, tuple):
            values = holder if isinstance(holder, dict) else vars(holder)
            found += [(values, key, value) for key, value in values.items()]
    return found


def _reached(root: object) -> list[object]:
    """Every object, list, tuple and dictionary that attributes and items lead to."""
    found: dict[int, object] = {}
    queue = [root]
    while queue:
        holder = queue.pop()
        if id(holder) in found or isinstance(holder, (Tensor, type, ModuleType, FunctionType)):
            continue
        if isinstance(holder, MethodType):
            queue.append(holder.__self__)
            continue
        if isinstance(holder, partial):
            queue += [holder.func, holder.args, holder.keywords]
            continue
        if isinstance(holder, dict):
            queue += holder.values()
        elif isinstance(holder, (list, tuple)):
            queue += holder
        elif hasattr(holder, "__dict__"):
            queue += vars(holder).values()
        else:
            continue
        found[id(holder)] = holder
    return list(found.values())
