"""Derivatives for several cotangents at once, in both of torch's ways to batch them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.modes import verb

#: What a backward pass computes of a cotangent.
Pull = Callable[[Tensor], tuple[Tensor, ...]]


def pull_back(pull: Pull, cotangent: Tensor, *sources: Tensor) -> tuple[Tensor, ...]:
    """Call ``pull`` on a cotangent inside a backward pass, once for each of a batch of them.

    Args:
        pull: linear in the cotangent; called without a graph.
        cotangent: one, or a batch under ``torch.vmap`` or ``is_grads_batched``.
        sources: tensors that the result depends on besides: a second derivative is refused even
            where the cotangent is constant.

    Returns:
        What ``pull`` returned, batched where the cotangent was.

    Raises:
        InputError: from a second backward pass.
    """
    results: tuple[Tensor, ...] = _PullBack.apply(cotangent, pull, *sources)
    return results


class _PullBack(torch.autograd.Function):
    @staticmethod
    def forward(cotangent: Tensor, pull: Pull, *sources: Tensor) -> tuple[Tensor, ...]:
        plain = verb(pull)  # a backward pass runs in the modes of whoever calls it
        if torch._C._functorch.is_legacy_batchedtensor(cotangent):
            return _one_by_one(cotangent, plain)
        return plain(cotangent.contiguous())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        raise InputError(
            "The hypergradient is differentiable once; second derivatives are not built."
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], cotangent: Tensor, pull: Pull, *sources: Tensor
    ) -> Any:
        each = [_PullBack.apply(g, pull, *sources) for g in cotangent.movedim(in_dims[0] or 0, 0)]
        stacked = tuple(torch.stack(parts) for parts in zip(*each, strict=True))
        return stacked, (0,) * len(stacked)


def _one_by_one(cotangent: Tensor, pull: Pull) -> tuple[Tensor, ...]:
    """Pull back the cotangents of ``torch.autograd.grad(..., is_grads_batched=True)``.

    Its batched tensors are not those of ``torch.vmap`` and know no rule of an autograd function,
    so that they have to be taken apart and put together by hand.
    """
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    each = [pull(g.contiguous()) for g in torch._remove_batch_dim(cotangent, level, 0, 0)]
    stacked = (torch.stack(parts) for parts in zip(*each, strict=True))
    return tuple(torch._add_batch_dim(part, 0, level) for part in stacked)
