"""What is known of a trial point before it is accepted."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.solve.system import System

#: Potentials that differ by this many units of rounding are taken as equal.
ROUNDING_UNITS = 30


def inside(system: System, trial: Tensor, f: Tensor) -> Tensor:
    """Whether each trial point lies in the domain and its potential ``f`` is finite, (B,)."""
    finite = torch.isfinite(f)
    domain = system.in_domain(trial)
    return finite if domain is None else finite & domain


def flat(old: Tensor, new: Tensor) -> Tensor:
    """Whether two potentials differ by no more than rounding, so that slopes must decide, (B,)."""
    unit = torch.finfo(new.dtype).eps
    return (new - old).abs() <= ROUNDING_UNITS * unit * old.abs()
