"""Norms in double precision, and the room that PROVED numbers leave for rounding.

What is proved of exact numbers is said of computed ones. Two allowances pay for the difference:
an absolute one for vectors that come out of cancellations, ``eps`` times the size of the terms
(:func:`allowance`), and a relative one for the final number (:func:`up`, :func:`down`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.bounds import inflate

#: Units of rounding per operation: a transform or a convolution loses a few, a sum of them too.
UNITS = 16.0


def length(v: Tensor) -> Tensor:
    """Euclidean norm of each sample in double precision, shape (B,)."""
    wide = torch.complex128 if v.is_complex() else torch.float64
    return torch.linalg.vector_norm(v.detach().flatten(1), dim=1, dtype=wide).double()


def product(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each sample in double precision, shape (B,)."""
    a, b = a.detach().flatten(1), b.detach().flatten(1)
    if a.is_complex():
        a, b = torch.view_as_real(a).flatten(1), torch.view_as_real(b).flatten(1)
    return torch.linalg.vecdot(a.double(), b.double())


def allowance(size: Tensor, dtype: torch.dtype) -> Tensor:
    """Bound the rounding error of a sum whose terms have norms that add up to ``size``.

    Formula: ``16 eps size``, with eps of the dtype in which the sum was computed.
    """
    return UNITS * torch.finfo(dtype).eps * size


def up(value: Tensor) -> Tensor:
    """Round non-negative upper bounds up, as :func:`equipoise.bounds.inflate` does."""
    return torch.where(value.isnan(), torch.inf, value * inflate(1.0))


def down(value: Tensor) -> Tensor:
    """Round lower bounds of non-negative numbers down; never below 0."""
    return torch.where(value.isnan(), 0.0, value / inflate(1.0)).clamp_min(0.0)
