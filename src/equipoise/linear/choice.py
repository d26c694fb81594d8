"""Linear solvers by name."""

from __future__ import annotations

from equipoise.errors import UnknownNameError
from equipoise.linear.base import LinearSolver
from equipoise.linear.bicgstab import BiCGStab
from equipoise.linear.conjugate_gradients import ConjugateGradients
from equipoise.linear.gmres import GMRES
from equipoise.linear.minres import MINRES

LINEAR_SOLVERS: dict[str, type[LinearSolver]] = {
    cls.name: cls for cls in (ConjugateGradients, MINRES, GMRES, BiCGStab)
}


def linear_solver_by_name(name: str) -> LinearSolver:
    """The method of that name with its default options.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name not in LINEAR_SOLVERS:
        raise UnknownNameError("linear solver", name, LINEAR_SOLVERS)
    return LINEAR_SOLVERS[name]()
