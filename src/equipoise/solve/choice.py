"""Which algorithm suits which system, and algorithms by name."""

from __future__ import annotations

from equipoise.errors import UnknownNameError
from equipoise.solve.accelerated import AcceleratedGradient
from equipoise.solve.anderson import Anderson
from equipoise.solve.fixed_point import FixedPoint
from equipoise.solve.lbfgs import LBFGS
from equipoise.solve.nonmonotone import NonmonotoneAcceleratedGradient
from equipoise.solve.resolvent import Resolvent
from equipoise.solve.solver import Solver
from equipoise.solve.system import System

SOLVERS: dict[str, type[Solver]] = {
    cls.name: cls
    for cls in (
        FixedPoint,
        Anderson,
        AcceleratedGradient,
        NonmonotoneAcceleratedGradient,
        LBFGS,
        Resolvent,
    )
}


def default_solver(system: System, *, warm: bool = False) -> Solver:
    """L-BFGS for gradient fields, otherwise Anderson acceleration, of the resolvent map if any.

    The resolvent map P_c contracts where R is a contractive residual (theory, section 2);
    acceleration keeps it as its safeguard and needs fewer evaluations than
    :class:`~equipoise.solve.Resolvent`, which applies it as it is.

    Args:
        system: the equation.
        warm: whether its solve starts at the solution of an equation nearby.
    """
    if system.gradient_field:
        return LBFGS(warm=warm)
    return Anderson()


def solver_by_name(name: str) -> Solver:
    """The algorithm of that name with its default options.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name not in SOLVERS:
        raise UnknownNameError("solver", name, SOLVERS)
    return SOLVERS[name]()
