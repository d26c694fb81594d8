"""What is found out about ``A^T A``: its ends, its decomposition, and whether samples share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Protocol, runtime_checkable

import torch
from deepinv.physics import DecomposablePhysics, LinearPhysics
from torch import Tensor

from equipoise.bounds import Bound, estimated, inflate, proved
from equipoise.circulant import nearest_multiplier
from equipoise.vectors import expand, norm

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


@runtime_checkable
class Summed(Protocol):
    """A physics whose ``A^T A`` is the sum of those of others."""

    @property
    def gram_summands(self) -> Sequence[LinearPhysics]:
        """The others; none where they are not known."""


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

    Exact (proved) for decomposable physics whose decomposition holds. Of a sum, between the sums
    of the ends of its parts (Weyl), the upper one where all are proved. Otherwise 0 (proved) and a
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
    bottom_of_all = proved(0.0, "any linear A")
    if isinstance(physics, Summed) and physics.gram_summands:
        lows, highs = zip(
            *(gram_bounds(part, image) for part in physics.gram_summands), strict=True
        )
        bottom_of_all, top_of_all = reduce(add, lows), reduce(add, highs)
        if top_of_all.proved:
            return bottom_of_all, top_of_all
    v = _random_like(image)
    size = norm(v)
    for _ in range(POWER_STEPS):
        v = physics.A_adjoint(physics.A(v / expand(size, v)))
        size = norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    return bottom_of_all, estimated(float(size.max()), "power iteration")


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


def _random_like(image: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)


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
    generator = torch.Generator().manual_seed(0)
    # Of entries that are all as large, so that none hides a pixel of a mask.
    one = torch.randint(0, 2, like.shape[1:], generator=generator).to(like).mul(2).sub(1)
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
