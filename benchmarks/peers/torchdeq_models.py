"""torchdeq's equilibrium layer on the gradient step: Anderson's and Broyden's method.

The package is optional. Options are the defaults of ``get_deq`` unless the tables say otherwise.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

from torch import nn

from benchmarks.peers.setting import Setting

#: What a row says without the package.
MISSING = "torchdeq is not installed: pip install 'equipoise[peers]'"
#: Iterations of the forward pass: Anderson's method is ended by the watch, Broyden's keeps two
#: images for each iteration.
FORWARD = {"anderson": 10**5, "broyden": 600}

Solver = Literal["anderson", "broyden", "fixed_point_iter"]


def available() -> bool:
    """Whether torchdeq can be imported."""
    return importlib.util.find_spec("torchdeq") is not None


def forward(given: Setting, solver: Solver) -> None:
    """Solve for the fixed point until the watch or the limit of iterations ends it."""
    layer(f_solver=solver, f_max_iter=FORWARD[solver], f_tol=0.0).eval()(given.step, given.start)


def layer(**options: Any) -> nn.Module:
    """``torchdeq.get_deq`` with these options."""
    from torchdeq import get_deq

    deq: nn.Module = get_deq(**options)
    return deq
