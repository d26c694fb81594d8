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
from deepinv.physics import DecomposablePhysics, LinearPhysics
from torch import Tensor

from equipoise.bounds import Bound, estimated, inflate, proved
from equipoise.circulant import nearest_multiplier
from equipoise.errors import InputError, UsageError
from equipoise.gauge import clipped, level_and_spread
from equipoise.modes import leaf
from equipoise.vectors import dot, expand, norm

#: Steps of the power iteration that estimates ||A|| where no decomposition gives it.
POWER_STEPS = 30
#: Share of the part of A^T A that is no convolution by which its Fourier multiplier is raised.
CAUTION = 0.3
#: Random images from which the norms of the rows of A^T A are estimated where it is not diagonal;
#: rows that differ by less than a share, and operators that miss a convolution by less, count as
#: alike.
PROBES, ALIKE = 6, 0.1


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

    def contrast(self) -> Contrast:
        """``grad f`` at the best constant image, without what outliers of the data add."""
        ones = self._ones
        level, spread = level_and_spread(self.y, ones)
        slope = self._slope_at(expand(level, ones) * ones)
        if slope.is_complex():  # Fourier coefficients are mostly outliers; those of the image count
            return Contrast(clipped(self.physics.A_adjoint(slope)), level, spread)
        return Contrast(self.physics.A_adjoint(clipped(slope)), level, spread)

    def terms(self, level: Tensor) -> Tensor:
        """What ``grad f`` is a difference of, an image (B, C, *spatial): ``A^T y / sigma^2``."""
        return self._weighted(self.physics.A_adjoint(self.y))

    def row_norms(self, x: Tensor) -> Tensor | None:
        """Norms of the rows of ``f''`` at x, where they differ.

        Args:
            x: images, shape (B, C, *spatial).

        Returns:
            Tensor of shape (1 or B, C, *spatial); None where the rows are alike, as those of a
            convolution.
        """
        return self._row_norms

    @cached_property
    def _row_norms(self) -> Tensor | None:
        like = self._like_image()
        return row_norms(self.hessian(like), like)

    @cached_property
    def _ones(self) -> Tensor:
        """``A 1``, shape (1 or B, ...)."""
        return self.physics.A(torch.ones_like(self._like_image()))

    def _slope_at(self, u: Tensor) -> Tensor:
        """Derivative of ``d(u, y)`` by u."""
        return self._weighted(u - self.y)

    @cached_property
    def spectrum(self) -> tuple[Bound, Bound]:
        """Smallest and largest eigenvalue of ``f''``: exact where the physics is decomposable."""
        low, high = gram_bounds(self.physics, self._like_image())
        return low.times(self.weight), high.times(self.weight)

    def multiplier(self, x: Tensor) -> Tensor:
        """Fourier multiplier for preconditioning ``f''(x)``.

        The nearest one (:func:`equipoise.circulant.nearest_multiplier`), raised by ``CAUTION``
        times what it misses: eigenvalues that are taken too small cost more than too large ones.

        Returns:
            Tensor of shape (1 or B, C, *frequencies of a real FFT).
        """
        return self._multiplier

    @cached_property
    def _multiplier(self) -> Tensor:
        like = self._like_image()
        return _cautious_multiplier(self.hessian(like), like)

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """``v -> (f'' + c I)^{-1} v`` where a decomposition of the physics gives it, else None."""
        physics = self.physics
        if not isinstance(physics, DecomposablePhysics):
            return None
        with torch.no_grad():
            if not diagonalises(physics, self._like_image()):
                return None
        squared = self.weight * singular_values(physics).square() + c
        return lambda v: physics.V(physics.V_adjoint(v) / squared)

    def at(self, keep: Tensor) -> DataTerm | None:
        """The same term for some of the samples; None if the physics holds per-sample tensors."""
        if _has_batch_tensors(self.physics, len(self.y)):
            return None
        return self._copy(self.y[keep])

    def keep(self, other: DataTerm) -> None:
        """Take over what the term of other measurements has found out about the physics."""
        known = {"spectrum", "_multiplier", "_row_norms", "_ones"} & other.__dict__.keys()
        self.__dict__.update({name: other.__dict__[name] for name in known})

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

    def terms(self, level: Tensor) -> Tensor:
        """``f''(c) c`` at the constant image c, which is like the terms of the gradient there."""
        image = expand(level, self._image()) * self._image()
        return self.hessian(image)(image)

    def row_norms(self, x: Tensor) -> Tensor | None:
        """As for the squared norm, for data that equal A x: noise does not tell them apart."""
        ideal = self._copy(self.physics.A(x))
        return row_norms(ideal.hessian(x), x)

    def _image(self) -> Tensor:
        """Images of ones, shape (B, C, *spatial)."""
        one = torch.ones_like(self._like_image())
        return one.expand(len(self.y), *one.shape[1:])

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
        return _cautious_multiplier(self.hessian(x), x)

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """None: the Hessian depends on x."""
        return None

    def keep(self, other: DataTerm) -> None:
        """Nothing: the curvature depends on the measurements."""

    def _copy(self, y: Tensor) -> DataTerm:
        return GeneralDataTerm(self.physics, y, self.fidelity)


def data_term(physics: LinearPhysics, y: Tensor, fidelity: DataFidelity | None) -> DataTerm:
    """The data term of a physics and a deepinv data fidelity (None: ``L2()``).

    Raises:
        UsageError: if the fidelity is not a deepinv ``DataFidelity``, has no derivative, or is not
            a function ``d(A x, y)``.
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
        return DataTerm(physics, y, float(fidelity.d.norm))
    return GeneralDataTerm(physics, y, fidelity)


def singular_values(physics: DecomposablePhysics) -> Tensor:
    """Moduli of the diagonal of a decomposable physics (deepinv calls it ``mask``).

    A single number comes in double precision, because torch would not promote it.
    """
    moduli = torch.as_tensor(physics.mask).detach().abs()
    return moduli.double() if moduli.dim() == 0 else moduli


def diagonalises(physics: DecomposablePhysics, image: Tensor) -> bool:
    """Whether the decomposition that a physics declares is one, tried on a random image.

    ``V V* = I`` and ``V* A^T A = S V*`` with the squared singular values S: then every eigenvalue
    of ``A^T A`` is one of S, and ``V (S + c)^{-1} V*`` inverts ``A^T A + c I``.
    """
    v = _random_like(image)
    spectral = physics.V_adjoint(v)
    gram = physics.V_adjoint(physics.A_adjoint(physics.A(v)))
    isometry = _equal(physics.V(spectral), v)
    return isometry and _equal(gram, singular_values(physics).square() * spectral)


def gram_bounds(physics: LinearPhysics, image: Tensor) -> tuple[Bound, Bound]:
    """Smallest and largest eigenvalue of ``A^T A``.

    Exact (proved) for decomposable physics whose decomposition holds; otherwise 0 (proved) and a
    power-iteration estimate, which is a lower bound of the norm.

    Args:
        physics: a deepinv linear physics.
        image: one image, shape (1, C, ...), for shape, dtype and device.
    """
    if isinstance(physics, DecomposablePhysics) and diagonalises(physics, image):
        values = singular_values(physics)
        top = float(values.max())
        # A transfer function comes from an FFT, whose error is relative to the largest value.
        bottom = max(0.0, float(values.min()) - 8 * torch.finfo(values.dtype).eps * top)
        low, high = bottom**2 / inflate(1.0), inflate(top**2)
        return proved(low, "decomposition"), proved(high, "decomposition")
    v = _random_like(image)
    size = norm(v)
    for _ in range(POWER_STEPS):
        v = physics.A_adjoint(physics.A(v / expand(size, v)))
        size = norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    return proved(0.0, "any linear A"), estimated(float(size.max()), "power iteration")


def row_norms(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor | None:
    """Norms of the rows of a symmetric operator, from products with random signs.

    Exact for diagonal operators, and unbiased in the square for others: of random signs v,
    ``(G v)_i`` has the mean square ``||G_i||^2``.

    Args:
        product: ``v -> G v`` on images, sample by sample.
        like: images, shape (B, C, *spatial), for shape, dtype and device.

    Returns:
        Tensor of the shape of ``like``; None where the rows of every sample are alike.
    """
    generator = torch.Generator().manual_seed(1)

    def probe() -> tuple[Tensor, Tensor]:
        signs = torch.randint(0, 2, like.shape, generator=generator).to(like).mul_(2.0).sub_(1.0)
        return signs, product(signs)

    signs, image = probe()
    others = probe()
    diagonal = signs * image
    if not _equal(diagonal, others[0] * others[1]):
        _, miss = nearest_multiplier(product, like)
        size = norm(image) / norm(signs)
        if bool((miss <= ALIKE * size).all()):
            return None
        squares = [image.square(), others[1].square()]
        squares += [probe()[1].square() for _ in range(PROBES - 2)]
        diagonal = torch.stack(squares).mean(0).sqrt()
    rows = diagonal.abs()
    flat = rows.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    return None if bool((high - low <= ALIKE * high).all()) else rows


def _cautious_multiplier(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    multiplier, miss = nearest_multiplier(product, like)
    return multiplier + CAUTION * expand(miss, multiplier)


def _random_like(image: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether a and b agree up to rounding."""
    tolerance = 1e3 * torch.finfo(b.dtype).eps
    return bool((norm(a - b) <= tolerance * norm(b)).all())


def _has_batch_tensors(physics: LinearPhysics, batch: int) -> bool:
    """Whether a buffer or parameter of the physics might hold one entry per sample."""
    if batch == 1:
        return False
    tensors = [*physics.buffers(), *physics.parameters()]
    return any(t.dim() > 0 and t.shape[0] == batch for t in tensors)
