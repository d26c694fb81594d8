"""Solve ``J x = b`` for batches of linear operators given by their products."""

from equipoise.linear.base import LinearSolver
from equipoise.linear.bicgstab import BiCGStab
from equipoise.linear.choice import LINEAR_SOLVERS, linear_solver_by_name
from equipoise.linear.conjugate_gradients import ConjugateGradients
from equipoise.linear.gmres import GMRES
from equipoise.linear.minres import MINRES
from equipoise.linear.neumann import NeumannSeries

__all__ = [
    "GMRES",
    "LINEAR_SOLVERS",
    "MINRES",
    "BiCGStab",
    "ConjugateGradients",
    "LinearSolver",
    "NeumannSeries",
    "linear_solver_by_name",
]
