"""Approximate equilibria: what a solver leaves at a given tolerance, however far that is."""

from __future__ import annotations

from dataclasses import replace

import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import DecomposablePhysics
from hypothesis import strategies as st
from instances import IMAGE, Instance
from torch import Tensor

from equipoise.equation import Equation
from equipoise.solve import default_solver, solve

#: Tolerances of a careless and of a careful solve.
TOLERANCES = (1e-2, 1e-10)


def solved(equation: Equation, tolerance: float) -> Tensor:
    """The last iterate of the default solver, converged or not."""
    start = equation.adjoint_data
    solver = default_solver(equation)
    return solve(equation, start, solver, tolerance=tolerance, max_evaluations=150).x


def weighted(equation: Equation, sigma: float) -> Equation:
    """The equation with deepinv's ``L2(sigma)``."""
    return replace(equation, data_fidelity=L2(sigma=sigma))


def instances(physics: tuple[str, ...], fields: tuple[str, ...]) -> st.SearchStrategy[Instance]:
    """Random equations of these kinds."""
    return st.builds(
        Instance,
        st.sampled_from(physics),
        st.sampled_from(fields),
        st.integers(0, 10**6),
        st.floats(-2.0, 1.0).map(lambda exponent: 10.0**exponent),
    )


def scaled_identity(s: float) -> DecomposablePhysics:
    """``A = s I`` as a decomposable physics."""
    return DecomposablePhysics(mask=torch.full((1, *IMAGE), s, dtype=torch.float64))
