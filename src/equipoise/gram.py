"""What is found out about ``A^T A``: its ends, its decomposition, and whether samples share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Protocol, runtime_checkable

import torch
from deepinv.physics import DecomposablePhysics, LinearPhysics
from torch import Tensor

from equipoise.bounds import Bound, estimated, inflate, proved
from equipoise.convolutions.circulant import nearest_multiplier
from equipoise.randomness import normal_like, signs_like
from equipoise.vectors import expand, norm

#: f(s, c) of the singular values s of A and a number c per sample, both ready to broadcast.
Function = Callable[[Tensor, Tensor], Tensor]

#: Steps of the power iteration that estimates ||A|| where no decomposition gives it.
POWER_STEPS = 30
#: Share of the part of A^T A that is no convolution by which its Fourier multiplier is raised.
CAUTION = 0.3
#: Random images from which the norms of the rows of A^T A are estimated where it is not diagonal;
#: rows that differ by less than a share, and operators that miss a convolution by less, count as
#: alike.
PROBES, ALIKE = 6, 0.1
#: Units of rounding by which results that should agree may differ.
ROUNDING = 1e3
#: Singular values are known up to this many units of rounding of the largest one (an FFT's error).
SINGULAR_VALUE_ROUNDING = 8.0


@runtime_checkable
class Summed(Protocol):
    """A physics whose ``A^T A`` is the sum of those of others."""

    @property
    def gram_summands(self) -> Sequence[LinearPhysics]:
        """The others; none where they are not known."""


class Gram:
    """What is known of ``A^T A``, found out when it is asked for and then kept.

    Args:
        physics: a deepinv linear physics A.
        image: images of shape (B, C, *spatial), for shape, dtype and device.
        y: measurements, shape (B, ...), likewise; None is as A gives them.
    """

    def __init__(self, physics: LinearPhysics, image: Tensor, y: Tensor | None = None) -> None:
        self.physics, self.image, self._y = physics, image, y

    def __call__(self, v: Tensor) -> Tensor:
        """``A^T A v``."""
        return self.physics.A_adjoint(self.physics.A(v))

    def of(self, image: Tensor, y: Tensor) -> Gram:
        """The same operator for another batch, with what is known of it there.

        Of one batch nothing is known for a batch of another size, unless samples are alike, which
        is then tried.
        """
        other, known = Gram(self.physics, image, y), dict(self.__dict__)
        for name in ("physics", "image", "_y"):
            del known[name]
        alike = known.pop("alike", None)
        same = len(image) == len(self.image)
        if known and not same:
            alike = self.alike
        if alike is not None and (not alike or len(image) <= len(self.image)):
            other.__dict__["alike"] = alike
        if same or (known and alike and other.alike):
            other.__dict__.update(known)
        return other

    @cached_property
    def alike(self) -> bool:
        """Whether A does the same to every sample, tried on random images the first time.

        Only then may a batch be cut, and what one sample tells be used for all.
        """
        y = self.physics.A(self.image) if self._y is None else self._y
        return treats_samples_alike(self.physics, self.image, y)

    @property
    def like(self) -> Tensor:
        """Images to ask A with: one where it treats all alike, otherwise as many as samples."""
        return self.image[:1] if len(self.image) == 1 or self.alike else self.image

    @cached_property
    def ones(self) -> Tensor:
        """``A 1``, shape (1 or B, ...)."""
        with torch.no_grad():
            return self.physics.A(torch.ones_like(self.like))

    @cached_property
    def calculus(self) -> SpectralCalculus | None:
        """Functions of ``A^T A`` where the physics has a decomposition that holds."""
        if not isinstance(self.physics, DecomposablePhysics):
            return None
        with torch.no_grad():
            if not _diagonalises(self.physics, self.like):
                return None
        return SpectralCalculus(self.physics, singular_values(self.physics))

    @cached_property
    def bounds(self) -> tuple[Bound, Bound]:
        """Smallest and largest eigenvalue, of every sample.

        Exact (proved) for decomposable physics whose decomposition holds. Of a sum, between the
        sums of the ends of its parts (Weyl), the upper one where all are proved. Otherwise 0
        (proved) and a power-iteration estimate, which is a lower bound of the norm.
        """
        if self.calculus is not None:
            values = self.calculus.values
            top = float(values.max())
            # A transfer function comes from an FFT, whose error is relative to the largest value.
            bottom = max(0.0, float(values.min()) - self.calculus.rounding)
            low, high = bottom**2 / inflate(1.0), inflate(top**2)
            return proved(low, "decomposition"), proved(high, "decomposition")
        bottom_of_all = proved(0.0, "any linear A")
        if isinstance(self.physics, Summed) and self.physics.gram_summands:
            parts = [Gram(part, self.like).bounds for part in self.physics.gram_summands]
            bottom_of_all, top_of_all = (reduce(add, ends) for ends in zip(*parts, strict=True))
            if top_of_all.proved:
                return bottom_of_all, top_of_all
        with torch.no_grad():
            v = normal_like(self.like, 0)
            size = norm(v)
            for _ in range(POWER_STEPS):
                v = self(v / expand(size, v))
                size = norm(v).clamp_min(torch.finfo(v.dtype).tiny)
        return bottom_of_all, estimated(float(size.max()), "power iteration")

    @cached_property
    def row_norms(self) -> Tensor | None:
        """Norms of the rows, shape (1 or B, C, *spatial); None where they are alike."""
        with torch.no_grad():
            return row_norms(self, self.like)

    @cached_property
    def multiplier(self) -> Tensor:
        """A Fourier multiplier for preconditioning, (1 or B, C, *frequencies of a real FFT).

        The nearest one, raised by a share of what it misses: eigenvalues that are taken too small
        cost more than too large ones.
        """
        with torch.no_grad():
            return cautious_multiplier(self, self.like)


@dataclass(frozen=True, eq=False)
class SpectralCalculus:
    """``f(A^T A) = V f(S) V*`` for a physics that is diagonal in a known basis.

    Args:
        physics: a deepinv decomposable physics whose decomposition holds.
        values: its singular values, shaped to broadcast against ``V* v``.
    """

    physics: DecomposablePhysics
    values: Tensor

    def apply(self, function: Function, v: Tensor, c: float | Tensor = 0.0) -> Tensor:
        """Compute ``V f(s, c) V* v``.

        Args:
            function: ``f(s, c)``, entry by entry.
            v: images, shape (B, C, ...).
            c: a number, or one for each sample, shape (B,).
        """
        with torch.no_grad():
            coefficients = self.physics.V_adjoint(v)
            shift = torch.as_tensor(c, dtype=v.dtype, device=v.device)
            shift = expand(shift, coefficients) if shift.dim() == 1 else shift
            factor = function(self.values, shift)
            return self.physics.V(factor * coefficients)

    @property
    def rounding(self) -> float:
        """How far the singular values may be from their exact ones."""
        eps = torch.finfo(self.values.dtype).eps
        return SINGULAR_VALUE_ROUNDING * eps * float(self.values.max())

    @property
    def kernel_is_exact(self) -> bool:
        """Whether every singular value is exactly 0 or distinguishable from 0."""
        values = self.values
        return not bool(((values > 0) & (values <= self.rounding)).any())

    def kernel(self, v: Tensor) -> Tensor:
        """The component of v that A does not see (singular values of 0 up to rounding)."""
        floor = self.rounding
        return self.apply(lambda s, c: (s <= floor).to(v.dtype), v)


def singular_values(physics: DecomposablePhysics) -> Tensor:
    """Moduli of the diagonal of a decomposable physics (deepinv calls it ``mask``).

    A single number comes in double precision, because torch would not promote it.
    """
    moduli = torch.as_tensor(physics.mask).detach().abs()
    return moduli.double() if moduli.dim() == 0 else moduli


def _diagonalises(physics: DecomposablePhysics, image: Tensor) -> bool:
    """Whether the decomposition that a physics declares is one, tried on a random image.

    ``V V* = I`` and ``V* A^T A = S V*`` with the squared singular values S: then every eigenvalue
    of ``A^T A`` is one of S, and ``V (S + c)^{-1} V*`` inverts ``A^T A + c I``.
    """
    v = normal_like(image, 0)
    spectral = physics.V_adjoint(v)
    gram = physics.V_adjoint(physics.A_adjoint(physics.A(v)))
    isometry = _equal(physics.V(spectral), v)
    return isometry and _equal(gram, singular_values(physics).square() * spectral)


def cautious_multiplier(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """The nearest Fourier multiplier, raised by ``CAUTION`` times what it misses.

    Args:
        product: a symmetric positive semi-definite operator.
        like: images, shape (B, C, *spatial).
    """
    multiplier, miss = nearest_multiplier(product, like)
    return multiplier + CAUTION * expand(miss, multiplier)


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
        signs = signs_like(like, generator)
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


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether a and b agree up to rounding."""
    tolerance = ROUNDING * torch.finfo(b.dtype).eps
    return bool((norm(a - b) <= tolerance * norm(b)).all())


def treats_samples_alike(physics: LinearPhysics, image: Tensor, y: Tensor) -> bool:
    """Whether a physics does the same to every sample, however many there are.

    Tried, since an operator may hold what belongs to a sample anywhere: a random image goes through
    A and a random measurement through its adjoint, in every row of a batch times a power of two
    of its own, for the whole batch, for one row less and for one row alone. The rows of all
    results must agree up to rounding, entry by entry.

    Args:
        physics: a deepinv linear physics.
        image: images, shape (B, C, ...), for shape, dtype and device.
        y: measurements, shape (B, ...), likewise.
    """
    batch = len(image)
    sizes = (1, 2) if batch == 1 else tuple(sorted({1, batch - 1, batch}))
    with torch.no_grad():
        return all(
            _rows_agree(operator, like, sizes)
            for operator, like in ((physics.A, image), (physics.A_adjoint, y))
        )


def _rows_agree(operator: Callable[[Tensor], Tensor], like: Tensor, sizes: tuple[int, ...]) -> bool:
    # Of entries that are all as large, so that none hides a pixel of a mask.
    one = signs_like(like[0], 0)
    first: Tensor | None = None
    for size in sizes:
        factors = expand(2.0 ** (torch.arange(size, device=like.device) % 3), like).to(like)
        try:
            rows = operator(factors * one)
        except Exception:  # an operator for as many samples as there are
            return False
        if len(rows) != size:
            return False
        rows = rows / expand(factors.reshape(-1), rows)
        first = rows[:1] if first is None else first
        eps = torch.finfo(rows.dtype).eps
        if not bool(((rows - first).abs() <= ROUNDING * eps * first.abs().max()).all()):
            return False
    return True
