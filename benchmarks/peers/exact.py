"""The exact hypergradient in float64, from the formula, to measure others against.

For the loss ``||x - truth||^2 / 2`` of the solution x with respect to all parameters w of R:
``dL/dw = -(dE/dw)^T q`` with ``J q = x - truth``. x comes from :mod:`benchmarks.reference`, q from
SciPy's conjugate gradients with the product written out in :mod:`benchmarks.straightforward`, the
rest from autograd through the formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from benchmarks.instances import Instance
from benchmarks.reference import CACHE, Vector, energy, key, reference
from benchmarks.straightforward import of_regularizer
from equipoise.errors import ConvergenceError

#: Residual of the solution relative to the image, and of the adjoint equation.
SOLUTION, ADJOINT = 5e-8, 1e-8
#: Products that SciPy's conjugate gradients may use.
PRODUCTS = 1000


@dataclass(frozen=True)
class Exact:
    """An instance, its solution and the derivative of the loss there.

    Args:
        instance: in float64.
        x: the solution, float64.
        gradient: by all parameters of R, one after the other, float64.
    """

    instance: Instance
    x: Tensor
    gradient: Tensor

    def product(self, x: Tensor, v: Tensor) -> Tensor:
        """``J(x) v = A^T A v + alpha r''(x) v`` in float64, from the formula."""
        return _product(self.instance, x, v)

    def adjoint_residual(self, x: Tensor, q: Tensor) -> float:
        """``||J(x) q - g|| / ||g||`` with ``g = x - truth``: how well q solves its equation."""
        x, q = x.double(), q.double()
        g = x - self.instance.truth
        return float((self.product(x, q) - g).norm() / g.norm())

    def cosine(self, gradient: Tensor) -> float:
        """Cosine of the angle to the exact gradient."""
        other = gradient.to(self.gradient)
        return float(other @ self.gradient / (other.norm() * self.gradient.norm()))

    def error(self, gradient: Tensor) -> float:
        """Relative distance to the exact gradient."""
        other = gradient.to(self.gradient)
        return float((other - self.gradient).norm() / self.gradient.norm())


def exact_hypergradient(one: Instance, folder: Path = CACHE) -> Exact:
    """Compute the exact hypergradient of an instance, or read it.

    Args:
        one: one image, a ridge regulariser.
        folder: where results are kept.

    Raises:
        ConvergenceError: if the adjoint equation is not solved.
    """
    double = one.to(torch.float64)
    solution = reference(one, SOLUTION, folder=folder)
    x = solution.x.to(double.truth)
    path = folder / f"{key(one, SOLUTION, one.start())}-adjoint.npz"
    if not path.exists():
        q = _adjoint(double, x)
        gradient = _by_parameters(double, x, q)
        np.savez(path, gradient=gradient.cpu().numpy())
    with np.load(path) as file:
        return Exact(double, x, torch.from_numpy(file["gradient"]))


def flattened(gradients: list[Tensor]) -> Tensor:
    """Derivatives by several tensors as one vector."""
    return torch.cat([each.detach().flatten().double().cpu() for each in gradients])


def _product(double: Instance, x: Tensor, v: Tensor) -> Tensor:
    physics = double.problem.physics
    curved = of_regularizer(double.regularizer).product(x, v)
    return physics.A_adjoint(physics.A(v)) + double.alpha * curved


def _adjoint(double: Instance, x: Tensor) -> Tensor:
    def matvec(flat: Vector) -> Vector:
        v = torch.from_numpy(flat).to(x).reshape(x.shape)
        return _product(double, x, v).cpu().numpy().ravel()

    size = x.numel()
    g = (x - double.truth).cpu().numpy().ravel()
    operator = LinearOperator((size, size), matvec=matvec, dtype=np.float64)
    flat, failed = cg(operator, g, rtol=ADJOINT, maxiter=PRODUCTS)
    if failed:
        raise ConvergenceError(
            f"The adjoint equation of {double.name} was not solved to {ADJOINT:g} in "
            f"{PRODUCTS} products."
        )
    return torch.from_numpy(flat).to(x).reshape(x.shape)


def _by_parameters(double: Instance, x: Tensor, q: Tensor) -> Tensor:
    parameters = list(double.regularizer.parameters())
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        value = energy(double, point)
        (slope,) = torch.autograd.grad(value, point, create_graph=True)
        found = torch.autograd.grad((slope * q).sum(), parameters)
    return -flattened(list(found))
