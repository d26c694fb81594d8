"""What a Krylov method is to the loop: steps towards the solution of ``J u = r`` from zero."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.vectors import expand, where

#: A linear map of batches, sample by sample: (B, ...) to the same shape.
Product = Callable[[Tensor], Tensor]


class Process(ABC):
    """One run of a method on ``J u = r`` from ``u = 0``, each sample of the batch by itself.

    The right-hand sides have norm 1, or are zero for samples that take no part. Such samples, and
    those that stopped, go through the motions: their iterates stay and what they compute is unused.

    Args:
        product: ``v -> J v``.
        r: right-hand sides, shape (B, ...); not changed.
    """

    #: Products with J in one step.
    products_per_step: ClassVar[int] = 1
    #: Whether :meth:`unfinished` comes nearer to the solution in every step, whatever its residual
    #: does.
    error_decreases: ClassVar[bool] = False
    #: Whether a breakdown proves that J is not what the method assumes, so that a restart is vain.
    breakdown_is_final: ClassVar[bool] = False

    def __init__(self, product: Product, r: Tensor) -> None:
        self.product = product
        #: Norm of the residual of :meth:`iterate` that the recurrence believes in, shape (B,).
        self.residual = torch.ones(len(r), dtype=r.dtype, device=r.device)
        #: Boolean (B,): the method cannot go on with this sample.
        self.broken = torch.zeros(len(r), dtype=torch.bool, device=r.device)

    @abstractmethod
    def step(self, active: Tensor) -> None:
        """Take one step; may not synchronise with the host nor change iterates outside ``active``.

        Args:
            active: boolean (B,): the samples that still take part.
        """

    @abstractmethod
    def iterate(self) -> Tensor:
        """The iterate u of every sample at the step where it stopped, shape (B, ...)."""

    def unfinished(self) -> Tensor:
        """What to return of a sample whose products run out, where that is not the iterate."""
        return self.iterate()

    @property
    def full(self) -> bool:
        """Whether the method's memory is full, so that all samples have to start anew."""
        return False


def advance(x: Tensor, chosen: Tensor, size: Tensor, direction: Tensor) -> Tensor:
    """Move the chosen samples along a direction; not even a NaN can reach the others.

    Formula: ``x_i + size_i * direction_i`` where ``chosen_i``, else ``x_i``.
    """
    return where(chosen, torch.addcmul(x, expand(size, x), direction), x)


def identity(v: Tensor) -> Tensor:
    """The preconditioner that does nothing."""
    return v
