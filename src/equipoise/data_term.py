"""The data part of the equation: energy, gradient and curvature of ``x -> D(A x, y)``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from deepinv.optim.data_fidelity import (
    L1,
    L2,
    DataFidelity,
    IndicatorL2,
    PoissonLikelihood,
)
from deepinv.physics import Denoising, LinearPhysics
from torch import Tensor

from equipoise.bounds import Bound, estimated, proved
from equipoise.errors import InputError, UsageError
from equipoise.gauge import clipped, level_and_spread
from equipoise.gram import Gram, cautious_multiplier, row_norms
from equipoise.modes import leaf
from equipoise.vectors import dot, expand

_IDENTITY = Denoising()


@dataclass(frozen=True, eq=False)
class Contrast:
    """What data say beyond a constant image.

    Args:
        gradient: ``grad f`` at the constant image nearest to the data, outliers of the data cut,
            shape (B, C, *spatial).
        level: that constant of each sample, shape (B,).
        spread: root mean square of what remains, in units of the image, shape (B,).
    """

    gradient: Tensor
    level: Tensor
    spread: Tensor


class DataTerm:
    """``f(x) = D(A x, y)`` for a linear physics; this class is the squared norm.

    Formula: ``f(x) = ||A x - y||^2 / (2 sigma^2)``, ``grad f = A^T (A x - y) / sigma^2``.

    Args:
        physics: any deepinv linear physics.
        y: measurements, shape (B, ...).
        weight: ``1 / sigma^2`` of deepinv's ``L2(sigma)``, 1 by default; a number, or a tensor of
            shape (1,) or (B,).
    """

    def __init__(self, physics: LinearPhysics, y: Tensor, weight: float | Tensor = 1.0) -> None:
        self.physics, self.y, self.weight = physics, y, weight

    def gradient(self, x: Tensor) -> Tensor:
        """``grad f(x)``, differentiable with respect to y and the physics' own parameters."""
        return self._weighted(self.physics.A_adjoint(self.physics.A(x) - self.y))

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``f(x)``, shape (B,), and ``grad f(x)`` from one application of A."""
        misfit = self.physics.A(x) - self.y
        flat = misfit.flatten(1)
        energy = 0.5 * self.weight * torch.linalg.vecdot(flat, flat).real
        return energy, self._weighted(self.physics.A_adjoint(misfit))

    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """``v -> f''(x) v``, here ``A^T A v / sigma^2``."""
        return lambda v: self._weighted(self.physics.A_adjoint(self.physics.A(v)))

    def in_domain(self, x: Tensor) -> Tensor | None:
        """Boolean (B,), or None where f is defined everywhere."""
        return None

    def contrast(self) -> Contrast:
        """``grad f`` at the best constant image, without what outliers of the data add."""
        ones = self.gram.ones
        level, spread = level_and_spread(self.y, ones)
        slope = self._slope_at(expand(level, ones) * ones)
        if slope.is_complex():  # Fourier coefficients are mostly outliers; those of the image count
            return Contrast(clipped(self.physics.A_adjoint(slope)), level, spread)
        return Contrast(self.physics.A_adjoint(clipped(slope)), level, spread)

    def gradient_terms(self, level: Tensor) -> Tensor:
        """What ``grad f`` is a difference of, an image (B, C, *spatial): ``A^T y / sigma^2``."""
        return self._weighted(self.like)

    def row_norms(self, x: Tensor) -> Tensor | None:
        """Norms of the rows of ``f''`` at x, where they differ.

        Args:
            x: images, shape (B, C, *spatial).

        Returns:
            Tensor of shape (1 or B, C, *spatial); None where the rows are alike, as those of a
            convolution.
        """
        rows = self.gram.row_norms
        return None if rows is None else self._weighted(rows)

    def _slope_at(self, u: Tensor) -> Tensor:
        """Derivative of ``d(u, y)`` by u."""
        return self._weighted(u - self.y)

    @cached_property
    def spectrum(self) -> tuple[Bound, Bound]:
        """Smallest and largest eigenvalue of ``f''``: exact where the physics is decomposable.

        They hold for every sample, also where each has an operator of its own.
        """
        low, high = self.gram.bounds
        weights = torch.as_tensor(self.weight, dtype=torch.float64)
        return low.times(float(weights.min())), high.times(float(weights.max()))

    @property
    def like(self) -> Tensor:
        """A tensor of shape, dtype and device of x: ``A^T y``."""
        return self.gram.image

    @cached_property
    def gram(self) -> Gram:
        """What is known of ``A^T A``."""
        with torch.no_grad():
            return Gram(self.physics, self.physics.A_adjoint(self.y), self.y)

    def multiplier(self, x: Tensor) -> Tensor:
        """Fourier multiplier for preconditioning ``f''(x)``.

        Returns:
            Tensor of shape (1 or B, C, *frequencies of a real FFT).
        """
        return self._weighted(self.gram.multiplier)

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """``v -> (f'' + c I)^{-1} v`` where a decomposition of the physics gives it, else None.

        None as well where every sample has a weight of its own.
        """
        calculus, weight = self.gram.calculus, self.weight
        if calculus is None or (isinstance(weight, Tensor) and len(weight) > 1):
            return None
        physics, shifted = calculus.physics, float(weight) * calculus.values.square() + c
        return lambda v: physics.V(physics.V_adjoint(v) / shifted)

    def at(self, keep: Tensor) -> DataTerm | None:
        """The same term for some of the samples; None if A does not treat all samples alike."""
        if len(self.y) > 1 and not self.gram.alike:
            return None
        cut = self._copy(keep)
        cut.gram = self.gram.of(self.gram.image[keep], cut.y)
        return cut

    def keep(self, other: DataTerm) -> None:
        """Take over what the term of other measurements has found out about the same physics."""
        self.gram = other.gram.of(self.gram.image, self.y)

    def _copy(self, keep: Tensor) -> DataTerm:
        weight = self.weight
        if isinstance(weight, Tensor) and len(weight) > 1:
            weight = weight[keep]
        return DataTerm(self.physics, self.y[keep], weight)

    def _weighted(self, v: Tensor) -> Tensor:
        if isinstance(self.weight, Tensor):
            return expand(self.weight, v) * v
        return v if self.weight == 1.0 else self.weight * v


class IdentityTerm(DataTerm):
    """``f(x) = ||x - y||^2 / 2``, of which everything is known.

    Args:
        y: images, shape (B, C, *spatial).
    """

    def __init__(self, y: Tensor) -> None:
        super().__init__(_IDENTITY, y)

    def gradient(self, x: Tensor) -> Tensor:
        """``x - y``."""
        return x - self.y

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``||x - y||^2 / 2``, shape (B,), and ``x - y``."""
        misfit = x - self.y
        return 0.5 * dot(misfit, misfit), misfit

    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The identity."""
        return lambda v: v

    @property
    def like(self) -> Tensor:
        """y itself."""
        return self.y

    def contrast(self) -> Contrast:
        """``c - y`` at the best constant image c, outliers cut."""
        level, spread = level_and_spread(self.y, torch.ones_like(self.y[:1]))
        return Contrast(clipped(expand(level, self.y) - self.y), level, spread)

    def row_norms(self, x: Tensor) -> Tensor | None:
        """None: they are 1."""
        return None

    @property
    def spectrum(self) -> tuple[Bound, Bound]:
        """1 and 1."""
        one = proved(1.0, "identity")
        return one, one

    def multiplier(self, x: Tensor) -> Tensor:
        """1."""
        return x.new_ones(1, x.shape[1], *[1] * (x.dim() - 2))

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """``v -> v / (1 + c)``."""
        return lambda v: v / (1.0 + c)

    def at(self, keep: Tensor) -> DataTerm | None:
        """The same term for some of the samples."""
        return IdentityTerm(self.y[keep])


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
        return torch.cat([self._energy_of_one(one, data) for one, data in pairs])

    def _energy_of_one(self, u: Tensor, y: Tensor) -> Tensor:
        energy = self.fidelity.d(u, y)
        if energy.numel() != 1:
            raise InputError(
                f"d of {type(self.fidelity).__name__} returned shape {tuple(energy.shape)} for one "
                "sample; a data fidelity must be one number per sample, for example a sum."
            )
        return energy.reshape(1)

    def _slope(self, u: Tensor, create_graph: bool) -> tuple[Tensor, Tensor]:
        """Energy and its derivative with respect to ``u = A x``."""
        with torch.enable_grad():
            point = u if u.requires_grad else leaf(u)
            energy = self._energy(point)
            slope = torch.autograd.grad(energy.sum(), point, create_graph=create_graph)[0]
        return energy, slope

    def gradient(self, x: Tensor) -> Tensor:
        """``A^T d'(A x, y)``."""
        u = self.physics.A(x)
        sources = (u, self.y, *self.fidelity.parameters())
        live = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in sources)
        _, slope = self._slope(u, create_graph=live)
        return self.physics.A_adjoint(slope)

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``d(A x, y)``, shape (B,), and ``A^T d'(A x, y)``."""
        energy, slope = self._slope(self.physics.A(x), create_graph=False)
        return energy.detach(), self.physics.A_adjoint(slope)

    def gradient_terms(self, level: Tensor) -> Tensor:
        """``f''(c) c`` at the constant image c, which is like the terms of the gradient there."""
        like = self.gram.like
        image = expand(level, like) * torch.ones_like(like)
        return self.hessian(image)(image)

    def row_norms(self, x: Tensor) -> Tensor | None:
        """As for the squared norm, for data that equal A x: noise does not tell them apart."""
        ideal = GeneralDataTerm(self.physics, self.physics.A(x), self.fidelity)
        return row_norms(ideal.hessian(x), x)

    def _slope_at(self, u: Tensor) -> Tensor:
        return self._slope(u, create_graph=False)[1]

    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """``v -> A^T d''(A x, y) A v``; d'' is symmetric, so one reverse pass gives it."""
        with torch.enable_grad():
            u = leaf(self.physics.A(x))
            slope = self._slope(u, create_graph=True)[1]
        if not slope.requires_grad:  # a fidelity that is linear in x
            return torch.zeros_like

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
        """``[0, inf]`` for the Poisson likelihood of counts; unknown curvature otherwise."""
        counts = not self.y.is_complex() and bool((self.y >= 0).all())
        if isinstance(self.fidelity, PoissonLikelihood) and counts:  # log is concave, y >= 0
            return proved(0.0, "convex likelihood"), proved(math.inf, "unbounded curvature")
        return (
            estimated(-math.inf, "unknown data fidelity"),
            estimated(math.inf, "unknown data fidelity"),
        )

    def multiplier(self, x: Tensor) -> Tensor:
        """As for the squared norm, but the Hessian depends on x."""
        return cautious_multiplier(self.hessian(x), x)

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """None: the Hessian depends on x."""
        return None

    def _copy(self, keep: Tensor) -> DataTerm:
        return GeneralDataTerm(self.physics, self.y[keep], self.fidelity)


def data_term(physics: LinearPhysics, y: Tensor, fidelity: DataFidelity | None) -> DataTerm:
    """The data term of a physics and a deepinv data fidelity (None: ``L2()``).

    Raises:
        UsageError: if the fidelity is not a deepinv ``DataFidelity``, has no derivative, or is not
            a function ``d(A x, y)``.
        InputError: if sigma of ``L2(sigma)`` is not one positive number, or one for each sample.
    """
    if fidelity is None:
        return DataTerm(physics, y)
    name = type(fidelity).__name__
    if not isinstance(fidelity, DataFidelity):
        raise UsageError(f"data_fidelity must be a deepinv.optim.DataFidelity, got {name}.")
    if isinstance(fidelity, (L1, IndicatorL2)):
        raise UsageError(
            f"{name} is not differentiable, so it has no place in the equation: use a smooth one, "
            "for example deepinv.optim.DataFidelity(d) with d(u, y) a Huber function."
        )
    if type(fidelity).fn is not DataFidelity.fn:
        raise UsageError(
            f"{name} replaces fn, but the equation needs a function of A x and y: give the "
            "distance as deepinv.optim.DataFidelity(d) with d(u, y), one number per sample."
        )
    if isinstance(fidelity, L2):
        return DataTerm(physics, y, _weight(fidelity, y))
    return GeneralDataTerm(physics, y, fidelity)


def _weight(fidelity: L2, y: Tensor) -> float | Tensor:
    """``1 / sigma^2``: a number, or a tensor (1,) or (B,) where samples differ or it is learned."""
    weight = fidelity.d.norm
    if not isinstance(weight, Tensor):
        weight = torch.tensor(weight, dtype=torch.float64)
    per_sample = weight.numel() == weight.shape[:1].numel() == len(y)
    if weight.numel() != 1 and not per_sample:
        raise InputError(
            f"sigma of L2(sigma) must be one number or one for each of {len(y)} samples, got "
            f"shape {tuple(weight.shape)}; for noise that differs from pixel to pixel divide A "
            "and y by it."
        )
    values = weight.detach()
    if values.is_complex() or not bool((torch.isfinite(values) & (values > 0)).all()):
        raise InputError("sigma of L2(sigma) must be positive and finite.")
    if weight.numel() == 1 and not weight.requires_grad:
        return float(weight)
    return weight.reshape(-1).to(device=y.device, dtype=y.real.dtype)
