"""Solve ``E(x) = 0``: one loop, algorithms as leaves."""

from equipoise.solve.accelerated import AcceleratedGradient
from equipoise.solve.anderson import Anderson
from equipoise.solve.choice import SOLVERS, default_solver, solver_by_name
from equipoise.solve.fixed_point import FixedPoint
from equipoise.solve.lbfgs import LBFGS
from equipoise.solve.loop import solve
from equipoise.solve.nonmonotone import NonmonotoneAcceleratedGradient
from equipoise.solve.resolvent import Resolvent
from equipoise.solve.solver import Solver, State
from equipoise.solve.system import System

__all__ = [
    "LBFGS",
    "SOLVERS",
    "AcceleratedGradient",
    "Anderson",
    "FixedPoint",
    "NonmonotoneAcceleratedGradient",
    "Resolvent",
    "Solver",
    "State",
    "System",
    "default_solver",
    "solve",
    "solver_by_name",
]
