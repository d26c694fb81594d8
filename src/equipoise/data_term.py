"""The data part of the equation: energy, gradient and curvature of ``x -> D(A x, y)``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from deepinv.optim.data_fidelity import L2, DataFidelity, PoissonLikelihood
from deepinv.physics import DecomposablePhysics, LinearPhysics
from torch import Tensor

from equipoise.bounds import Bound, estimated, inflate, proved
from equipoise.errors import UsageError
from equipoise.vectors import dot, norm

#: Steps of the power iteration that estimates ||A|| where no decomposition gives it.
POWER_STEPS = 30


class DataTerm:
    """``f(x) = D(A x, y)`` for a linear physics; this class is the squared norm.

    Formula: ``f(x) = ||A x - y||^2 / (2 sigma^2)``, ``grad f = A^T (A x - y) / sigma^2``.

    Args:
        physics: any deepinv linear physics.
        y: measurements, shape (B, ...).
        weight: ``1 / sigma^2`` of deepinv's ``L2(sigma)``; 1 by default.
    """

    def __init__(self, physics: LinearPhysics, y: Tensor, weight: float = 1.0) -> None:
        self.physics, self.y, self.weight = physics, y, weight

    def gradient(self, x: Tensor) -> Tensor:
        """``grad f(x)``, differentiable with respect to y and the physics' own parameters."""
        return self._weighted(self.physics.A_adjoint(self.physics.A(x) - self.y))

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``f(x)``, shape (B,), and ``grad f(x)`` from one application of A."""
        misfit = self.physics.A(x) - self.y
        energy = 0.5 * self.weight * dot(misfit, misfit)
        return energy, self._weighted(self.physics.A_adjoint(misfit))

    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """``v -> f''(x) v``, here ``A^T A v / sigma^2``."""
        return lambda v: self._weighted(self.physics.A_adjoint(self.physics.A(v)))

    def in_domain(self, x: Tensor) -> Tensor | None:
        """Boolean (B,), or None where f is defined everywhere."""
        return None

    @cached_property
    def spectrum(self) -> tuple[Bound, Bound]:
        """Smallest and largest eigenvalue of ``f''``: exact where the physics is decomposable."""
        low, high = gram_bounds(self.physics, self._like_image())
        return low.times(self.weight), high.times(self.weight)

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """``v -> (f'' + c I)^{-1} v`` where the physics is decomposable, else None."""
        physics = self.physics
        if not isinstance(physics, DecomposablePhysics):
            return None
        squared = self.weight * singular_values(physics).square() + c
        return lambda v: physics.V(physics.V_adjoint(v) / squared)

    def at(self, keep: Tensor) -> DataTerm | None:
        """The same term for some of the samples; None if the physics holds per-sample tensors."""
        if _has_batch_tensors(self.physics, len(self.y)):
            return None
        return self._copy(self.y[keep])

    def _copy(self, y: Tensor) -> DataTerm:
        return DataTerm(self.physics, y, self.weight)

    def _weighted(self, v: Tensor) -> Tensor:
        return v if self.weight == 1.0 else self.weight * v

    def _like_image(self) -> Tensor:
        with torch.no_grad():
            return self.physics.A_adjoint(self.y[:1])


class GeneralDataTerm(DataTerm):
    """Any differentiable deepinv data fidelity ``d(A x, y)``, differentiated automatically.

    deepinv's own ``fn`` may mix the samples of a batch and its ``grad`` may differ from the
    derivative of ``fn`` by a factor (both are so for ``PoissonLikelihood``); here the energy is
    evaluated sample by sample and its derivative taken by autograd, so that both agree.

    Args:
        physics: any deepinv linear physics.
        y: measurements, shape (B, ...).
        fidelity: a deepinv data fidelity whose ``d`` is differentiable.
    """

    def __init__(self, physics: LinearPhysics, y: Tensor, fidelity: DataFidelity) -> None:
        super().__init__(physics, y)
        self.fidelity = fidelity

    def _energy(self, u: Tensor) -> Tensor:
        pairs = zip(u.split(1), self.y.split(1), strict=True)
        return torch.cat([self.fidelity.d(one, data).reshape(1) for one, data in pairs])

    def _slope(self, u: Tensor, create_graph: bool) -> tuple[Tensor, Tensor]:
        """Energy and its derivative with respect to ``u = A x``."""
        with torch.enable_grad():
            point = u if u.requires_grad else u.detach().requires_grad_()
            energy = self._energy(point)
            slope = torch.autograd.grad(energy.sum(), point, create_graph=create_graph)[0]
        return energy, slope

    def gradient(self, x: Tensor) -> Tensor:
        """``A^T d'(A x, y)``."""
        _, slope = self._slope(self.physics.A(x), create_graph=torch.is_grad_enabled())
        return self.physics.A_adjoint(slope)

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``d(A x, y)``, shape (B,), and ``A^T d'(A x, y)``."""
        energy, slope = self._slope(self.physics.A(x), create_graph=False)
        return energy.detach(), self.physics.A_adjoint(slope)

    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """``v -> A^T d''(A x, y) A v``; d'' is symmetric, so one reverse pass gives it."""
        with torch.enable_grad():
            u = self.physics.A(x).detach().requires_grad_()
            slope = self._slope(u, create_graph=True)[1]

        def product(v: Tensor) -> Tensor:
            bent = torch.autograd.grad(slope, u, self.physics.A(v), retain_graph=True)[0]
            return self.physics.A_adjoint(bent)

        return product

    def in_domain(self, x: Tensor) -> Tensor | None:
        """For the Poisson likelihood: ``A x / gain + background > 0`` in every pixel."""
        if not isinstance(self.fidelity, PoissonLikelihood):
            return None
        d = self.fidelity.d
        u = self.physics.A(x) / d.gain + d.bkg
        return (u > 0).flatten(1).all(1)

    @cached_property
    def spectrum(self) -> tuple[Bound, Bound]:
        """``[0, inf]`` for the convex Poisson likelihood; unknown curvature otherwise."""
        if isinstance(self.fidelity, PoissonLikelihood):
            return proved(0.0, "convex likelihood"), proved(math.inf, "unbounded curvature")
        return (
            estimated(-math.inf, "unknown data fidelity"),
            estimated(math.inf, "unknown data fidelity"),
        )

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """None: the Hessian depends on x."""
        return None

    def _copy(self, y: Tensor) -> DataTerm:
        return GeneralDataTerm(self.physics, y, self.fidelity)


def data_term(physics: LinearPhysics, y: Tensor, fidelity: DataFidelity | None) -> DataTerm:
    """The data term of a physics and a deepinv data fidelity (None: ``L2()``).

    Raises:
        UsageError: if the fidelity is not a deepinv ``DataFidelity``.
    """
    if fidelity is None:
        return DataTerm(physics, y)
    if isinstance(fidelity, L2):
        return DataTerm(physics, y, float(fidelity.d.norm))
    if isinstance(fidelity, DataFidelity):
        return GeneralDataTerm(physics, y, fidelity)
    raise UsageError(
        f"data_fidelity must be a deepinv.optim.DataFidelity, got {type(fidelity).__name__}."
    )


def singular_values(physics: DecomposablePhysics) -> Tensor:
    """Moduli of the diagonal of a decomposable physics (deepinv calls it ``mask``)."""
    mask = physics.mask
    return mask.abs() if isinstance(mask, Tensor) else torch.tensor(abs(float(mask)))


def gram_bounds(physics: LinearPhysics, image: Tensor) -> tuple[Bound, Bound]:
    """Smallest and largest eigenvalue of ``A^T A``.

    Exact (proved) for decomposable physics whose V is an isometry (checked on a random image);
    otherwise 0 (proved) and a power-iteration estimate, which is a lower bound of the norm.

    Args:
        physics: a deepinv linear physics.
        image: one image, shape (1, C, ...), for shape, dtype and device.
    """
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)
    if isinstance(physics, DecomposablePhysics):
        back = physics.V(physics.V_adjoint(v))
        tolerance = 1e3 * torch.finfo(v.dtype).eps
        if bool((norm(back - v) <= tolerance * norm(v)).all()):
            squared = singular_values(physics).square()
            low = float(squared.min()) / inflate(1.0)
            return proved(low, "decomposition"), proved(
                inflate(float(squared.max())), "decomposition"
            )
    size = torch.zeros(())
    for _ in range(POWER_STEPS):
        v = physics.A_adjoint(physics.A(v / norm(v).reshape(-1, *([1] * (v.dim() - 1)))))
        size = norm(v).max()
    return proved(0.0, "any linear A"), estimated(float(size), "power iteration")


def _has_batch_tensors(physics: LinearPhysics, batch: int) -> bool:
    """Whether a buffer or parameter of the physics might hold one entry per sample."""
    if batch == 1:
        return False
    tensors = [*physics.buffers(), *physics.parameters()]
    return any(t.dim() > 0 and t.shape[0] == batch for t in tensors)
