"""What objects hold at one moment, so that a later change is noticed and can be undone for a while.

deepinv changes a physics in place (``physics.update(mask=...)``, ``physics(x, filter=k)``), and
whatever was computed before then belongs to another operator than whatever comes after.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import InputError

#: Objects that are looked at, the nearest first: some hold half the program.
LIMIT = 20_000
#: Torch's own bookkeeping of every module (hooks), which no operator depends on.
_BOOKKEEPING = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules", "training"}
#: Types without parts, compared by value.
_PLAIN = frozenset(
    (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
)
_MISSING = object()
#: Held while an older state is put back, so that two threads do not do so at once.
_swapping = threading.RLock()

#: What can be changed in place and put back: a dictionary, a list, a variable of a closure.
Holder = dict[Any, Any] | list[Any] | CellType


class State:
    """The attributes of some objects and the versions of their tensors, at the time it is made.

    Recorded are the dictionaries of every object and submodule (parameters, buffers and plain
    attributes), lists, tuples, dictionaries and closures in them, without copies of tensors: torch
    counts how often a tensor was changed in place. What numpy arrays hold, and what ``.data`` of a
    tensor is made to hold, is not seen.

    Args:
        roots: modules, tensors and other objects by what messages call them; None and numbers do
            not count.
    """

    def __init__(self, roots: Mapping[str, object]) -> None:
        self.roots = roots
        self._contents: list[_Content] = []
        self._tensors: list[tuple[Tensor, tuple[int, int]]] = []
        self._record()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or what comes out of a file, is the state of the copied objects."""
        return type(self), (self.roots,)

    def holds(self) -> bool:
        """Whether all objects are still in this state."""
        return not self._changed_in_place() and all(c.holds() for c in self._contents)

    def settle(self) -> None:
        """Leave out for good whatever has changed since.

        After an evaluation: what it changes by itself (counters, the latest shape, statistics of a
        batch, vectors of a power iteration) is no change of what is evaluated.
        """
        for content in self._contents:
            content.settle()
        living = {id(tensor) for tensor in self._changed_in_place()}
        self._tensors = [pair for pair in self._tensors if id(pair[0]) not in living]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Put the objects back into this state inside a ``with`` block.

        Nothing is touched where nothing has changed, so that threads may share the objects.

        Raises:
            InputError: if a tensor was changed in place, which cannot be undone.
        """
        if self.holds():
            yield
            return
        with _swapping:
            changed = [content for content in self._contents if not content.holds()]
            present = [_Content(content.holder) for content in changed]
            try:
                for content in changed:
                    content.write()
                self.check_tensors()
                yield
            finally:
                for content in present:
                    content.write()

    def check_tensors(self) -> None:
        """Refuse tensors that were changed in place.

        Raises:
            InputError: that names one.
        """
        changed = self._changed_in_place()
        if changed:
            raise InputError(
                f"{self._name(changed[0])} was changed in place after the equation had been built "
                "or solved, so that neither bounds nor derivatives of it can be computed any more. "
                "Run backward, and whatever else uses the solution, before the change, or build a "
                "new Equation. Replacing a tensor, as physics.update(mask=...) does, leaves "
                "derivatives intact."
            )

    def _record(self) -> None:
        seen: set[int] = set()
        queue = deque(self.roots.values())
        while queue and len(seen) < LIMIT:
            thing = queue.popleft()
            if type(thing) in _PLAIN or id(thing) in seen:
                continue
            seen.add(id(thing))
            if isinstance(thing, Tensor):
                self._tensors.append((thing, _version(thing)))
            elif isinstance(thing, (dict, list, CellType)):
                content = _Content(thing)
                self._contents.append(content)
                queue.extend(content.values.values())
            elif isinstance(thing, nn.Module):
                content = _Content(vars(thing))
                seen.add(id(content.holder))
                self._contents.append(content)
                queue.extend(v for key, v in content.values.items() if key not in _BOOKKEEPING)
            else:
                queue.extend(_parts(thing))

    def _changed_in_place(self) -> list[Tensor]:
        return [tensor for tensor, version in self._tensors if _version(tensor) != version]

    def _name(self, tensor: Tensor) -> str:
        for label, root in self.roots.items():
            if root is tensor:
                return label
            if isinstance(root, dict):
                for name, other in root.items():
                    if other is tensor:
                        return f"'{name}' of the {label}"
            if isinstance(root, nn.Module):
                held = (*root.named_parameters(), *root.named_buffers(), *vars(root).items())
                for name, other in held:
                    if other is tensor:
                        return f"'{name}' of the {label} ({type(root).__name__})"
        return f"A tensor of shape {tuple(tensor.shape)}"


def _parts(thing: object) -> tuple[Any, ...]:
    """What an object that is no container refers to."""
    if isinstance(thing, tuple):
        return thing
    if isinstance(thing, FunctionType):
        held = (thing.__closure__, thing.__defaults__, thing.__kwdefaults__)
        return tuple(part for part in held if part is not None)
    if isinstance(thing, MethodType):
        return (thing.__self__, thing.__func__)
    if isinstance(thing, functools.partial):
        return (thing.func, thing.args, thing.keywords)
    if isinstance(thing, (type, ModuleType)):
        return ()
    attributes = getattr(thing, "__dict__", None)
    return (attributes,) if isinstance(attributes, dict) else ()


class _Content:
    """What a dictionary, a list or a variable of a closure holds, as a dictionary.

    Args:
        holder: the container.
    """

    def __init__(self, holder: Holder) -> None:
        self.holder, self.values = holder, _read(holder)
        self.living: set[Any] = set()  # keys that do not count

    def holds(self) -> bool:
        """Whether nothing has been replaced, added or taken away."""
        present, values = self.holder, self.values
        if not isinstance(present, dict):
            present = _read(present)
        if len(present) - len(self.living & present.keys()) != len(values):
            return False
        for key, value in values.items():
            other = present.get(key, _MISSING)
            if other is not value and not _same_value(other, value):
                return False
        return True

    def settle(self) -> None:
        """Leave out what has changed."""
        if self.holds():
            return
        present = _read(self.holder)
        for key in present.keys() | self.values.keys():
            if not _same_value(present.get(key, _MISSING), self.values.get(key, _MISSING)):
                self.living.add(key)
                self.values.pop(key, None)

    def write(self) -> None:
        """Put everything back."""
        holder = self.holder
        if isinstance(holder, dict):
            holder.update(self.values)
            for key in holder.keys() - self.values.keys() - self.living:
                del holder[key]
        elif isinstance(holder, list):
            kept = {**_read(holder), **self.values} if self.living else self.values
            holder[:] = kept.values()
        elif self.values:
            holder.cell_contents = self.values[0]


def _read(holder: Holder) -> dict[Any, Any]:
    if isinstance(holder, dict):
        return dict(holder)
    if isinstance(holder, list):
        return dict(enumerate(holder))
    try:
        return {0: holder.cell_contents}
    except ValueError:  # a variable that has no value yet
        return {}


def _same_value(a: object, b: object) -> bool:
    """Whether both are one object, or equal as far as that is cheap to say."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) in _PLAIN:
        return a == b
    if isinstance(a, MethodType) and isinstance(b, MethodType):
        return a.__self__ is b.__self__ and a.__func__ is b.__func__
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same_value, a, b))
    return False


def _version(tensor: Tensor) -> tuple[int, int]:
    """What changes when a tensor is changed in place, or its ``data`` replaced."""
    try:
        return (0 if tensor.is_inference() else tensor._version), tensor.data_ptr()
    except RuntimeError:  # tensors without storage of their own
        return tensor._version, 0
