"""Equations in their own precision and with derivatives, whatever modes of PyTorch surround them.

``torch.autocast`` would round convolutions to half precision, where residuals are those of float32;
``torch.inference_mode`` forbids the small derivatives that a solve is made of; ``torch.compile``
cannot trace a loop that stops by its data; ``torch.set_default_device`` moves what is drawn from a
generator of the CPU. What is decorated here leaves them, and the caller finds them as they were.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from equipoise.errors import UsageError

#: Kinds of devices that ``torch.autocast`` may be on for.
_AUTOCAST = ("cpu", "cuda", "mps", "xpu")
#: Dtypes that autocast leaves behind.
HALF = (torch.float16, torch.bfloat16)

P = ParamSpec("P")
T = TypeVar("T")


def in_own_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate an evaluation: it runs without autocast and outside inference mode.

    Where inference mode was on no graph is recorded, as the caller wanted.
    """

    @wraps(function)
    def evaluation(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling() or not (
            torch._C._is_any_autocast_enabled() or torch.is_inference_mode_enabled()
        ):
            return function(*args, **kwargs)
        with _own_precision():
            return function(*args, **kwargs)

    return evaluation


def verb(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a verb: as :func:`in_own_precision`, and not compiled, and on the devices it names.

    Tensors that a verb makes without naming a device are on the CPU.
    """

    @wraps(function)
    def act(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.get_default_device().type == "cpu":
            return evaluation(*args, **kwargs)
        with torch.device("cpu"):
            return evaluation(*args, **kwargs)

    evaluation = in_own_precision(function)
    disabled: Callable[P, T] = torch.compiler.disable(act, reason="it stops by its data")
    return disabled


def learning_verb(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a verb that takes derivatives itself, wherever the caller's are off."""

    @wraps(function)
    def learning(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.enable_grad():
            return function(*args, **kwargs)

    return verb(learning)


@contextmanager
def _own_precision() -> Iterator[None]:
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # leaving inference mode turns gradients on
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def backward_in_own_precision() -> Iterator[list[Tensor]]:
    """Record a graph that no backward pass runs under autocast, even if it is called there.

    Autocast would round the matrix products of derivatives, too. Tensors that are put into the
    list are the ends of the graph; what was recorded before belongs to the caller and is left.
    """
    with torch.enable_grad():
        marker = torch.zeros((), device="cpu", requires_grad=True).clone()
    first = _number(marker.grad_fn)
    ends: list[Tensor] = []
    yield ends
    queue, seen = [end.grad_fn for end in ends], set()
    while queue:
        node = queue.pop()
        if node is None or node in seen or hasattr(node, "variable") or _number(node) < first:
            continue
        seen.add(node)
        node.register_prehook(_switch_off)
        node.register_hook(_switch_back)
        queue.extend(before for before, _ in node.next_functions)


def _number(node: Any) -> int:
    """When the node was recorded in its thread; leaves have no such number."""
    number: int = node._sequence_nr()
    return number


class _Switched(threading.local):
    """The kinds of devices for which autocast is to come back after the nodes that run now."""

    def __init__(self) -> None:
        self.kinds: list[list[str]] = []


_switched = _Switched()


def _switch_off(gradients: Any) -> None:
    kinds = [kind for kind in _AUTOCAST if torch.is_autocast_enabled(kind)]
    for kind in kinds:
        torch.set_autocast_enabled(kind, False)
    _switched.kinds.append(kinds)


def _switch_back(inputs: Any, outputs: Any) -> None:
    for kind in _switched.kinds.pop():
        torch.set_autocast_enabled(kind, True)


def refuse_transforms(*parts: object) -> None:
    """Refuse function transforms of PyTorch, which would fail in the middle or lose derivatives.

    Args:
        parts: tensors and modules that a solve depends on.

    Raises:
        UsageError: inside ``torch.vmap``, ``torch.func.grad`` and the like, or for tensors that
            carry a tangent of forward-mode differentiation.
    """
    inside = torch._C._functorch.peek_interpreter_stack() is not None
    if inside or (forward_ad._current_level >= 0 and any(map(_carries_tangent, parts))):
        raise UsageError(
            "Equations are not solved inside torch.vmap, torch.func or forward-mode "
            "differentiation: a batch is the first axis of y, and derivatives are taken by "
            "backward() or torch.autograd.grad (is_grads_batched=True for several)."
        )


def _carries_tangent(part: object) -> bool:
    if isinstance(part, nn.Module):
        return any(map(_carries_tangent, (*part.parameters(), *part.buffers())))
    return isinstance(part, Tensor) and forward_ad.unpack_dual(part).tangent is not None


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor, or its copy where it was made in inference mode, which no graph may hold."""
    return tensor.clone() if tensor.is_inference() else tensor


def leaf(x: Tensor) -> Tensor:
    """The values of x as a point to differentiate at."""
    return ordinary(x.detach()).requires_grad_()


def make_ordinary(module: nn.Module) -> None:
    """Replace buffers and parameters that were made in inference mode by ordinary ones."""
    for owner in module.modules():
        held: dict[str, Any] = owner._buffers
        for name, buffer in held.items():
            if buffer is not None and buffer.is_inference():
                held[name] = buffer.clone()
        held = owner._parameters
        for name, parameter in held.items():
            if parameter is not None and parameter.is_inference():
                held[name] = nn.Parameter(parameter.clone(), parameter.requires_grad)
